/** What users and the provider send: sources, settings, notices, results, error bodies. */
import { APIError } from '@anthropic-ai/sdk';
import { gzipSync } from 'node:zlib';
import { budgetsType, isBudgetTarget } from '../../config/budget.ts';
import { loadConfig } from '../../config/config.ts';
import { readEnvironment } from '../../config/env.ts';
import { priceTable } from '../../config/models.ts';
import { parseDuration, parseInteger, parseMicroUsd, parseSize } from '../../config/quantity.ts';
import { EnvelopeReader } from '../../local/simulator/envelope.ts';
import { decodeScript } from '../../local/simulator/faultscript.ts';
import { JsonScanner } from '../../local/simulator/scanner.ts';
import { Intake } from '../../producers/intake.ts';
import { isBlank, LineReader } from '../../producers/lines.ts';
import { readNotice } from '../../producers/notice.ts';
import { readSource } from '../../producers/source.ts';
import { checkResults } from '../../segments/results.ts';
import { asRunKey } from '../../segments/segment.ts';
import { customId } from '../../segments/pack.ts';
import { classify } from '../../workers/anthropic.ts';
import { readFault } from '../../workers/provider-fault.ts';
import type { Parser } from './run.ts';

const bytesOf = (value: unknown): Buffer => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

const lineBytesMax = 100_000;
const rules = {
  contextClasses: [{ name: '8k', tokensMax: 8_000 }, { name: '200k', tokensMax: 200_000 }],
  defaults: { topic: 'default', priority: 'normal', client: 'default', model: 'claude-haiku-4-5', maxTokens: 64 },
  lineBytesMax,
  anthropicVersion: '2026-10-21',
  price: priceTable(),
} as const;

const params = { model: 'claude-haiku-4-5', max_tokens: 256, system: 'Be brief.', messages: [{ role: 'user', content: [{ type: 'text', text: 'grüße 𝒳' }] }, { role: 'assistant', content: 'Well,' }] };
const lines = [
  bytesOf({ id: 'inv-1041', topic: 'invoices', priority: 'high', client: 'a@b', deadline: '2026-11-22T06:00:00Z', metadata: { a: 1 }, params }),
  bytesOf({ id: 'inv-1042', prompt: 'Summarise: \u00e9', topic: 'invoices' }),
  bytesOf({ custom_id: 'inv-1043', params: { ...params, tools: [{ name: 'look', description: 'looks', input_schema: { type: 'object', properties: { at: { type: 'string' } } } }], tool_choice: { type: 'auto' }, stop_sequences: ['x'], thinking: { type: 'disabled' } } }),
];

function judgeAll(bytes: Buffer): string {
  const reader = new LineReader(lineBytesMax);
  const intake = new Intake('fuzz.jsonl', rules);
  let outcome = 'taken';
  const half = bytes.length >> 1;
  const judge = (line: Parameters<Intake['judge']>[0]): void => {
    if (isBlank(line)) return;
    const verdict = intake.judge(line);
    if (verdict.kind === 'rejected') outcome = verdict.fault.code;
  };
  for (const block of [bytes.subarray(0, half), bytes.subarray(half)]) for (const line of reader.cut(block)) judge(line);
  for (const line of reader.end()) judge(line);
  return outcome;
}

async function readAll(bytes: Buffer): Promise<string> {
  const object = { uri: 's3://b/k', etag: 'e', version: undefined, rows: 0, bytes: 0 };
  const source = { kind: 'objects', uri: 's3://b/k', objects: async function* () { yield { ...object, sizeBytes: bytes.length, open: async () => ({ ...object, read: async function* (from: number, length?: number) { yield bytes.subarray(from, length === undefined ? undefined : from + length); } }) }; } } as unknown as Parameters<typeof readSource>[0];
  let read = 0;
  for await (const block of readSource(source, 200)) {
    read += block.length;
    if (read > 40_000_000) return 'large';
  }
  return 'taken';
}

const yaml = `home: .plimsoll
lake: s3://bucket/prefix
archive:
  bytesMax: 200MB
  rowsMax: 50_000
budgets:
  topic:invoices: { usd: 12.50, runtime: 6h, window: 1d, onLate: cancel }
  client:etl: { tokens: 1_000_000 }
`;

function config(bytes: Buffer): string {
  loadConfig({ env: readEnvironment({}), cwd: '/work', configFile: 'plimsoll.yaml', readFile: () => bytes.toString('utf8') });
  return 'taken';
}

/** Values as the command line and the environment give them. */
function quantities(bytes: Buffer): string {
  const [kind = '', value = ''] = bytes.toString('utf8').split('=', 2);
  const read: Readonly<Record<string, (text: string) => unknown>> = {
    duration: parseDuration, size: parseSize, integer: parseInteger, usd: parseMicroUsd, run: asRunKey,
    target: (text) => isBudgetTarget(text) || undefined,
    budget: (text) => budgetsType.safeParse({ 'topic:a': { usd: text, tokens: text, runtime: text, window: text } }).data,
  };
  const found = read[kind]?.(value);
  if (typeof found === 'number' && !(Number.isSafeInteger(found) && found >= 0)) throw new RangeError(`${value} became ${found}`);
  return found === undefined ? 'refused' : 'taken';
}

const record = { eventVersion: '2.1', eventName: 'ObjectCreated:Put', s3: { bucket: { name: 'docs' }, object: { key: 'in/a+b%20c.jsonl', versionId: 'v1', eTag: 'e', size: 12 } } };
const bridged = { source: 'aws.s3', 'detail-type': 'Object Created', detail: { bucket: { name: 'docs' }, object: { key: 'in/a b', 'version-id': 'v' } } };

const archive = '7f3a91c2ab-000012';
const rowCount = 3;
const digests = ['a', 'b', 'c'].map((letter) => letter.repeat(64));
const usage = { input_tokens: 16, cache_creation_input_tokens: 4, cache_read_input_tokens: 0, cache_creation: { ephemeral_5m_input_tokens: 4, ephemeral_1h_input_tokens: 0 }, output_tokens: 7, service_tier: 'batch' };
const resultLine = (index: number, result: unknown): string => `${JSON.stringify({ custom_id: customId(archive as never, index, digests[index] ?? ''), result })}\n`;
const results = [
  resultLine(0, { type: 'succeeded', message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-haiku-4-5', content: [{ type: 'text', text: 'a "usage":{ b' }], stop_reason: 'end_turn', stop_sequence: null, usage } }),
  resultLine(1, { type: 'errored', error: { type: 'error', error: { type: 'invalid_request_error', message: 'no' }, request_id: null } }),
  resultLine(2, { type: 'expired' }),
].join('');

async function readResults(bytes: Buffer): Promise<string> {
  const check = await checkResults((async function* () { yield bytes; })(), { archive: archive as never, rows: rowCount, shaOf: (index) => digests[index] ?? '' });
  for (let index = 0; index < rowCount; index += 1) {
    const verdict = check.index.verdictOf(index);
    if (verdict.kind === 'succeeded' && Object.values(verdict.usage).some((tokens) => !Number.isSafeInteger(tokens) || tokens < 0)) throw new RangeError('a row has no whole token counts');
  }
  return check.isComplete ? 'taken' : (Object.entries(check.faultCounts).find(([, times]) => times > 0)?.[0] ?? '');
}

/** A reply with an error: `status body`. */
function providerError(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  const status = Number(text.slice(0, 3)) || 500;
  let body: unknown;
  try {
    body = JSON.parse(text.slice(4));
  } catch {
    body = undefined;
  }
  let error: unknown;
  try {
    error = APIError.generate(Math.min(599, Math.max(400, status)), body as object, text.slice(4), new Headers({ 'retry-after': text.slice(-3).replaceAll(/[^ -~]/g, '') }));
  } catch (failure) {
    // The client library itself gives up on a body that is nested too deep; its failure is what the product is told.
    error = failure;
  }
  const outcome = classify(error, true);
  if (outcome.kind === 'accepted') return 'taken_for_accepted';
  if (outcome.kind === 'refused' && outcome.retryAfterMs !== undefined && !(outcome.retryAfterMs >= 0 && outcome.retryAfterMs <= 3_600_000)) throw new RangeError(`a rest of ${outcome.retryAfterMs} ms`);
  readFault(error, 'GET /v1/messages/batches');
  return outcome.kind === 'refused' ? 'taken' : outcome.reason;
}

const create = { requests: [{ custom_id: 'a-1', params }, { custom_id: 'a-2', params }] };

function envelope(bytes: Buffer): string {
  const reader = new EnvelopeReader();
  const scanner = new JsonScanner(reader);
  scanner.write(bytes);
  scanner.end();
  return scanner.fault !== undefined ? 'malformed' : reader.verdict() === undefined ? 'taken' : 'refused';
}

function script(bytes: Buffer): string {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    return 'malformed';
  }
  return typeof decodeScript(value) === 'string' ? 'refused' : 'taken';
}

export const contentParsers: readonly Parser[] = [
  { name: 'jsonl line', share: 5, samples: lines, feed: judgeAll },
  { name: 'jsonl file', share: 1, samples: [Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')]))], feed: judgeAll },
  { name: 'gzip source', share: 0.7, samples: [gzipSync(Buffer.concat(lines)), gzipSync(Buffer.alloc(30_000, 97)), Buffer.concat([gzipSync('a\n'), gzipSync('b\n')])], feed: readAll },
  { name: 'settings file', share: 0.2, samples: [bytesOf(yaml)], feed: config },
  { name: 'quantities', share: 2, samples: ['duration=15m', 'size=256MB', 'integer=1_000', 'usd=12.50', 'run=nightly-2026-11-21', 'target=topic:invoices'].map(bytesOf), feed: quantities },
  { name: 'storage notice', share: 2, samples: [bytesOf({ Records: [record] }), bytesOf(bridged), bytesOf({ Type: 'Notification', Message: JSON.stringify({ Records: [record] }) })], feed: (bytes) => (readNotice(bytes.toString('utf8')), 'taken') },
  { name: 'result lines', share: 4, samples: [bytesOf(results)], feed: readResults },
  { name: 'provider error', share: 2, samples: ['400 {"type":"error","error":{"type":"invalid_request_error","message":"no"},"request_id":"r"}', '429 {"type":"error","error":{"type":"rate_limit_error","message":"slow"}}', '413 {"error":{"type":"request_too_large"}}'].map(bytesOf), feed: providerError },
  { name: 'simulator envelope', share: 2, samples: [bytesOf(create)], feed: envelope },
  { name: 'simulator script', share: 1, samples: [bytesOf({ seed: 7, faults: [{ fault: 'reply_lost', on: 'batches.create', nth: 1 }, { fault: 'results_truncated', on: 'batches.results', nth: 1 }] })], feed: script },
];
