/** What the product reads back of itself: objects of the lake, hashes of the ledger, a saved plan. Somebody may have changed it. */
import { parsePlan } from '../../cli/plan-file.ts';
import { decodeIndex } from '../../segments/chunk.ts';
import { PlimsollError } from '../../segments/errors.ts';
import { decodeJournal, decodeSealed, type JournalDocuments } from '../../segments/journal.ts';
import { decodeAccount, decodeArchive, decodeChunk, decodeEvent, decodeIntent, decodeRun, decodeStop, type Fields } from '../../segments/ledger/decode.ts';
import { deadLetterReasons, decodeOutcome } from '../../segments/outcome.ts';
import { readDocument } from '../../segments/store/document.ts';
import { readFooter } from '../../segments/store/evidence.ts';
import { readArchiveManifest } from '../../exporters/manifest.ts';
import { archiveManifestKey } from '../../segments/lake.ts';
import { decodeJournaledIntent } from '../../workers/workspace.ts';
import { MemoryStore } from '../chaos/box/memory-store.ts';
import type { Parser } from './run.ts';

const bytesOf = (value: unknown): Buffer => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

const archive = '7f3a91c2ab-000012';
const intent = `${archive}-i1`;
const run = 'nightly';
const range = { chunk: 'c', segment: 'invoices.8k.high', client: 'default', attempt: 1, spoolKey: 'spool/nightly/c', spoolRows: 2, spoolParamsBytes: 80, spoolIndexBytes: 90, from: 0, to: 1, firstIndex: 0, tokensMax: 100, microUsdMax: 50, accounts: ['all@total'] };
const usage = { inputTokens: 10, outputTokens: 5, cacheReadInputTokens: 0, cacheWriteInputTokens: 0, cacheWrite1hInputTokens: 0 };

const documents: { readonly [Kind in keyof JournalDocuments]: object } = {
  sealed: { v: 1, archive, run, dt: '2026-11-21', priority: 'high', rows: 2, bodyBytes: 200, bodySha256: 'a'.repeat(64), chunks: [range] },
  opening: { v: 1, run, tag: '7f3a91c2ab', dt: '2026-11-21', openedAtMs: 1_795_000_000_000, source: 'a.jsonl', cutSha256: 'b'.repeat(64) },
  ingestion: { v: 1, accepted: 2, rejected: 0, input: { bytes: 100, rows: 2, sha256: 'c'.repeat(64) } },
  intent: { v: 1, intent, archive, run, account: 'a1', owner: 'host|1|b|2', rows: 2, bodyBytes: 200, bodySha256: 'a'.repeat(64), providerDateMs: 1, preparedAtMs: 1 },
  accepted: { v: 1, intent, archive, run, account: 'a1', batch: 'msgbatch_01AcJtwEXDB7Vb8s5DWt9Cb1' },
  refusal: { v: 1, intent, archive, run, reason: 'status_400', left: ['c'], right: ['d'] },
  forgoing: { v: 1, intent, archive, run, by: 'ada', reason: 'nobody can prove it', decidedAtMs: 1 },
  budget: { v: 1, target: 'topic:a', tokens: 5, window: 'total', setAtMs: 1 },
  hold: { v: 1, scope: 'run:nightly', isHeld: true, setAtMs: 1 },
  replan: { v: 1, replan: 'r1', segment: 'invoices.8k.high', by: 'operator', reason: 'budget_tokens', decidedAtMs: 1, option: {}, priceVersion: '1', chunks: [] },
  tier: { v: 1, client: 'etl', tier: 'pilot', from: null, by: 'ada', reason: 'trial', ordinal: 1, setAtMs: 1 },
  deferral: { v: 1, run, client: 'etl', tier: 'pilot', over: 'fallback', fromRow: 3, limit: 'requestsPerDay', allowed: 2, measured: 3, intervalMs: null, decidedAtMs: 1 },
  completion: { run_key: run, status: 'succeeded', completed_at: '2026-11-21T04:00:00.000Z', counts: { succeeded: 2, dead_lettered: 0, rejected: 0 }, cost_usd_estimated: '0.1' },
};

const key = 'journal/some';

async function storeWith(bytes: Buffer, at = key): Promise<MemoryStore> {
  const store = new MemoryStore();
  await store.put(at, { blocks: [bytes], sizeBytes: bytes.length, sha256: '' });
  return store;
}

async function journal(bytes: Buffer): Promise<string> {
  const document = await readDocument(await storeWith(bytes), key);
  decodeJournaledIntent(document);
  const isAny = Object.keys(documents).some((kind) => {
    try {
      return decodeJournal(kind as keyof JournalDocuments, key, document) !== undefined;
    } catch (error) {
      if (error instanceof PlimsollError) return false;
      throw error;
    }
  });
  return isAny ? 'taken' : 'ledger_corrupt';
}

const outcome = {
  v: 1, archive, run, dt: '2026-11-21', account: 'a1', batch: 'msgbatch_01AcJtwEXDB7Vb8s5DWt9Cb1', rows: 4, resultsKey: 'journal/results/x', resultsBytes: 10, resultsSha256: 'd'.repeat(64),
  acceptedAtMs: 1, submittedAtMs: 2, endedAtMs: 3, source: 'a.jsonl', priceVersion: '1', prices: {},
  chunks: [{ ...range, to: 3, spoolRows: 4, succeeded: 2, retried: 1, deadLettered: 1, usage, microUsd: 20, standardMicroUsd: 40, overBound: 0 }],
  retried: [[2, 2]], dead: [{ index: 3, reason: 'expired', errorType: null }],
};

function outcomeOf(bytes: Buffer): string {
  for (const { reason } of decodeOutcome(bytes).dead) if (!deadLetterReasons.includes(reason)) return 'unknown';
  return 'taken';
}

const indexRow = (id: string): string => `${JSON.stringify({ id, row: 1, off: 0, bytes: 40, sha: 'e'.repeat(64), model: 'claude-haiku-4-5', in: 30, out: 20, expect: 25, usd: 25 })}\n`;

function index(bytes: Buffer): string {
  try {
    decodeIndex(bytes, 2, 80);
    return 'taken';
  } catch (error) {
    if (error instanceof RangeError) return 'index_differs';
    throw error;
  }
}

const footer = { v: 1, chunk: 'c', run, segment: 'invoices.8k.high', client: 'default', attempt: 1, source: 'a.jsonl', previousRow: 0, rows: 2, firstRow: 1, lastRow: 2, paramsBytes: 80, indexBytes: 90, tokensExpected: 50, tokensMax: 100, microUsdMax: 50 };

const hashes: Readonly<Record<string, Fields>> = {
  run: { state: 'open', reason: '', tag: '7f3a91c2ab', dt: '2026-11-21', source: 'a.jsonl', openedAtMs: '1', accepted: '4', rejected: '0', chunks: '1', chunksOpen: '1', microUsd: '10', checkpointBytes: '100', checkpointRows: '4', checkpointSha256: 'c' },
  chunk: { state: 'packed', run, segment: 'invoices.8k.high', client: 'default', attempt: '1', spoolKey: 'k', spoolRows: '2', from: '0', to: '1', rows: '2', paramsBytes: '80', tokensMax: '100', microUsdMax: '50', archive, accounts: '["all@total"]' },
  archive: { state: 'accepted', run, dt: '2026-11-21', priority: 'high', rows: '2', paramsBytes: '80', openedAtMs: '1', intents: '1', intent, batch: 'msgbatch_1', closing: 'full', bodyBytes: '200', bodySha256: 'a' },
  intent: { state: 'in_doubt', archive, account: 'a1', rows: '2', preparedAtMs: '1', sentAtMs: '2', doubtedAtMs: '3', owner: 'o', scans: '1', looks: '2', candidates: '[{"batch":"msgbatch_1","rows":2,"createdAtMs":1,"isEnded":false}]' },
  stop: { scope: 'invoices.8k.high', segment: 'invoices.8k.high', run: '', reason: 'budget_tokens', target: 'topic:a', stoppedAtMs: '1', tokensNeeded: '5', rowsHeld: '2' },
  account: { tokensReserved: '100', tokensSpent: '5', microUsdReserved: '50', microUsdSpent: '2', startedAtMs: '1' },
  event: { id: 'e-1', type: 'batch.submitted', subject: archive, time: '1', data: '{"run_key":"nightly"}' },
};

/** A reply of the ledger: a hash of one kind, as `[kind, fields]`. */
function ledgerReply(bytes: Buffer): string {
  let given: unknown;
  try {
    given = JSON.parse(bytes.toString('utf8'));
  } catch {
    return 'not_a_hash';
  }
  const [kind, stored] = Array.isArray(given) ? (given as unknown[]) : [];
  if (typeof stored !== 'object' || stored === null) return 'not_a_hash';
  // Redis holds text only.
  const fields: Fields = Object.fromEntries(Object.entries(stored).map(([name, value]) => [name, typeof value === 'object' ? '[' : String(value)]));
  switch (kind) {
    case 'run': return decodeRun(run as never, fields).state === undefined ? '' : 'taken';
    case 'chunk': return decodeChunk('c' as never, fields).state === undefined ? '' : 'taken';
    case 'archive': return decodeArchive(archive as never, fields).state === undefined ? '' : 'taken';
    case 'intent': return decodeIntent(intent as never, fields).state === undefined ? '' : 'taken';
    case 'stop': return decodeStop(fields).reason === undefined ? '' : 'taken';
    case 'account': return decodeAccount('all@total', fields).target === undefined ? '' : 'taken';
    case 'event': return decodeEvent('5-0', Object.entries(fields).flat()).id === undefined ? '' : 'taken';
    default: return 'not_a_hash';
  }
}

const manifest = { schema_version: 1, archive, run_key: run, dt: '2026-11-21', counts: { rows: 2, succeeded: 2 }, topics: [{ topic: 'invoices' }], entries: [{ url: 'file:///lake/results/a.gz', mandatory: true, meta: { content_length: 5, record_count: 2 }, sha256: 'f'.repeat(64) }] };

async function archiveManifest(bytes: Buffer): Promise<string> {
  const store = await storeWith(bytes, archiveManifestKey('2026-11-21', run as never, archive as never));
  await readArchiveManifest(store, '2026-11-21', run as never, archive as never);
  return 'taken';
}

const plan = { v: 1, source: 'a.jsonl', input: { bytes: 5, rows: 1, sha256: 'a' }, price_version: '1', settings_sha256: 'b', flags: { topic: 'a', strict: true } };

export const recordParsers: readonly Parser[] = [
  { name: 'journal document', share: 4, samples: Object.values(documents).map(bytesOf), feed: journal },
  { name: 'sealed manifest', share: 2, samples: [bytesOf(documents.sealed)], feed: (bytes) => (decodeSealed(bytes, key), 'taken') },
  { name: 'outcome document', share: 3, samples: [bytesOf(outcome)], feed: outcomeOf },
  { name: 'archive manifest', share: 2, samples: [bytesOf(manifest)], feed: archiveManifest },
  { name: 'chunk index', share: 3, samples: [bytesOf(indexRow('a') + indexRow('b'))], feed: index },
  { name: 'chunk footer', share: 2, samples: [bytesOf(`x\n${JSON.stringify(footer)}\n`)], feed: async (bytes) => (await readFooter(await storeWith(bytes, 'spool/c'), { key: 'spool/c', sizeBytes: bytes.length }), 'taken') },
  { name: 'ledger reply', share: 3, samples: Object.entries(hashes).map((entry) => bytesOf(entry)), feed: ledgerReply },
  { name: 'saved plan', share: 1, samples: [bytesOf(plan)], feed: (bytes) => (parsePlan(bytes.toString('utf8'), 'plan.json'), 'taken') },
];
