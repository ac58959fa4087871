/**
 * Why a line of a source is refused: one closed table of stable codes, and the shape in which a fault travels from the
 * rule that found it to the rejects file. A message names keys, models and numbers, never the text of a prompt.
 */

/** Every code, and what it means in one sentence. The code stands in the rejects file; scripts may rely on it. */
export const faultMeanings = {
  invalid_utf8: 'The line has bytes that are not UTF-8.',
  invalid_json: 'The line is not JSON.',
  lone_surrogate: 'An escape names one half of a surrogate pair without the other.',
  nesting_too_deep: 'Objects and arrays are nested more than 64 deep.',
  line_too_long: 'The line is longer than a request may be.',
  not_an_object: 'The line is JSON, but no object.',
  key_forbidden: 'A key has a meaning of its own in JavaScript.',
  key_duplicate: 'A key stands twice in one object, so its value is ambiguous.',
  key_unknown: 'A key beside the params is not one that Plimsoll knows.',
  shape_unknown: 'The line has neither params nor a prompt.',
  shape_ambiguous: 'The line mixes two of the accepted shapes.',
  id_missing: 'The line has no id.',
  id_invalid: 'The id is not a usable string.',
  id_duplicate: 'An earlier line has the same id.',
  topic_invalid: 'The topic cannot name a segment.',
  priority_invalid: 'The priority is not one of high, normal, low.',
  client_invalid: 'The client name has characters that cannot stand in a ledger key.',
  deadline_invalid: 'The deadline is no instant.',
  metadata_invalid: 'The metadata is no object or too large.',
  prompt_invalid: 'The prompt or system text is no usable string.',
  params_invalid: 'The params are no object.',
  param_unknown: 'The params have a key that the Messages API does not have.',
  param_refused: 'The params have a key that a Message Batch does not accept.',
  param_invalid: 'A value in the params has the wrong type or range.',
  sampling_refused: 'The API version in use refuses sampling parameters.',
  model_missing: 'No model is named.',
  model_unknown: 'The price table has no such model.',
  model_retired: 'The provider has retired the model.',
  max_tokens_missing: 'No max_tokens is given.',
  max_tokens_invalid: 'max_tokens is no positive integer.',
  max_tokens_too_large: 'max_tokens is more than the model can answer.',
  messages_missing: 'No messages are given.',
  messages_invalid: 'The messages do not have the shape that the API asks for.',
  role_invalid: 'A message has a role that is not allowed there.',
  content_refused: 'The API version in use refuses a content block.',
  thinking_invalid: 'The thinking settings do not fit the model or max_tokens.',
  tool_choice_invalid: 'tool_choice names a tool that is not there.',
  bound_unknown: 'Nobody can say in advance what the request may cost.',
  context_too_large: 'The request is larger than the largest context class.',
  tier_context_exceeded: 'The request is larger than the tier of its client takes.',
  tier_metadata_missing: 'The metadata lacks a key that the tier of its client asks for.',
  quota_exceeded: 'The client is over a rate of its tier, which refuses what is.',
} as const;

export type FaultCode = keyof typeof faultMeanings;

/** What is wrong with one line. */
export interface Fault {
  readonly code: FaultCode;
  /** One sentence: what was found and what is expected. */
  readonly problem: string;
  /** Offset in bytes from the start of the line, where a column helps; undefined: the whole line. */
  readonly at: number | undefined;
}

/** Makes a fault. `at` is a byte offset within the line. */
export function fault(code: FaultCode, problem: string, at?: number): Fault {
  return { code, problem, at };
}

/** Quotes a word of the input for a message: bounded, and with control characters escaped. */
export function quoted(word: string): string {
  const shown = word.length > 64 ? `${word.slice(0, 61)}...` : word;
  return JSON.stringify(shown);
}

/** ` (did you mean "x"?)`, or nothing. */
export function didYouMean(known: string | undefined): string {
  return known === undefined ? '' : ` (did you mean ${JSON.stringify(known)}?)`;
}
