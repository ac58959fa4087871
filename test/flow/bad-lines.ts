/** Every kind of bad line that a source may hold, with the code that stands in the rejects file. Bytes, because some are no text. */

export interface BadLine {
  readonly name: string;
  readonly line: Buffer;
  readonly code: string;
  /** What the message must say beyond file and line. */
  readonly says: RegExp;
}

const messages = [{ role: 'user', content: 'hello' }];
const params = { model: 'claude-haiku-4-5', max_tokens: 16, messages };
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const withParams = (id: string, more: Readonly<Record<string, unknown>>): Buffer => json({ id, params: { ...params, ...more } });
const without = (id: string, key: keyof typeof params): Buffer => {
  const rest: Partial<typeof params> = { ...params };
  delete rest[key];
  return json({ id, params: rest });
};

export const goodLine = json({ id: 'good', params });

export const badLines: readonly BadLine[] = [
  { name: 'no JSON', line: Buffer.from('{"id":"a" "prompt":"x"}'), code: 'invalid_json', says: /:\d+:11: invalid JSON: expected/ },
  { name: 'no UTF-8', line: Buffer.concat([Buffer.from('{"id":"b","prompt":"'), Buffer.from([0xff]), Buffer.from('"}')]), code: 'invalid_utf8', says: /:\d+:21: .*UTF-8/ },
  { name: 'a lone surrogate', line: Buffer.from('{"id":"c","prompt":"\\ud800"}'), code: 'lone_surrogate', says: /surrogate/ },
  { name: 'NUL in the id', line: Buffer.from('{"id":"d\\u0000","prompt":"x"}'), code: 'id_invalid', says: /id/ },
  { name: 'no id', line: json({ params }), code: 'id_missing', says: /id/ },
  { name: 'an id for the second time', line: json({ id: 'good', params }), code: 'id_duplicate', says: /line 1 has the same id/ },
  { name: 'a mistyped key', line: json({ id: 'e', params, topc: 'invoices' }), code: 'key_unknown', says: /did you mean "topic"\?/ },
  { name: 'a mistyped key of the params', line: withParams('f', { max_token: 3 }), code: 'param_unknown', says: /did you mean "max_tokens"\?/ },
  { name: 'a topic that cannot name a segment', line: json({ id: 'g', topic: 'Invoices!', params }), code: 'topic_invalid', says: /topic/ },
  { name: 'nesting over 64', line: Buffer.from(`{"id":"h","prompt":"x","metadata":${'{"a":'.repeat(65)}1${'}'.repeat(65)}}`), code: 'nesting_too_deep', says: /64/ },
  { name: '__proto__', line: Buffer.from('{"id":"i","prompt":"x","metadata":{"__proto__":{"a":1}}}'), code: 'key_forbidden', says: /__proto__/ },
  { name: 'a line that is too long', line: json({ id: 'j', params: { ...params, messages: [{ role: 'user', content: 'x'.repeat(70_000) }] } }), code: 'line_too_long', says: /at most 65000 are allowed/ },
  { name: 'no max_tokens', line: without('k', 'max_tokens'), code: 'max_tokens_missing', says: /max_tokens/ },
  { name: 'no messages', line: without('l', 'messages'), code: 'messages_missing', says: /messages/ },
  { name: 'a bad role', line: withParams('m', { messages: [{ role: 'robot', content: 'x' }] }), code: 'role_invalid', says: /role/ },
  { name: 'stream: true', line: withParams('n', { stream: true }), code: 'param_refused', says: /stream/ },
  { name: 'an unknown model', line: withParams('o', { model: 'claude-haiku-4-6' }), code: 'model_unknown', says: /did you mean "claude-haiku/ },
  { name: 'max_tokens over the maximum', line: withParams('p', { max_tokens: 10_000_000 }), code: 'max_tokens_too_large', says: /at most|maximum|\d/ },
  { name: 'temperature under the newer API version', line: withParams('q', { temperature: 0.5 }), code: 'sampling_refused', says: /temperature/ },
];
