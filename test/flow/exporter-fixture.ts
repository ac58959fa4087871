/** A small archive made by hand: chunks in a lake, result lines in the shapes that were captured from the provider
 *  (claude-batches.md 1.7), and the outcome document that a settler would have written. */
import { createHash } from 'node:crypto';
import { ChunkWriter, type ChunkRow } from '../../segments/chunk.ts';
import { outcomeKey, resultLinesKey, spoolKey } from '../../segments/lake.ts';
import type { ArchiveChunkOutcome, ArchiveOutcome, DeadRow } from '../../segments/outcome.ts';
import { archiveId, customId } from '../../segments/pack.ts';
import { femtoUsdHalfUp, microUsdUp, rowFemtoUsd, type ModelPrice, type Rates } from '../../segments/price.ts';
import {
  addUsage, asBatchId, asRunKey, chunkId, noUsage, segmentName, type ArchiveId, type Usage,
} from '../../segments/segment.ts';
import { putDocument } from '../../segments/store/document.ts';
import type { Store } from '../../segments/store/store.ts';

export const run = must(asRunKey('nightly-2026-11-21'));
export const batch = must(asBatchId('msgbatch_01AbCdEfGhIjKl'));
export const answeredModel = 'claude-haiku-4-5-20251001';
export const openedAtMs = Date.UTC(2026, 10, 21, 1);
const tag = '7f3a91c2ab';

const batchRates: Rates = { input: 500_000, output: 2_500_000, cacheWrite5m: 625_000, cacheWrite1h: 1_000_000, cacheRead: 50_000 };
const standardRates: Rates = { input: 1_000_000, output: 5_000_000, cacheWrite5m: 1_250_000, cacheWrite1h: 2_000_000, cacheRead: 100_000 };
export const price: ModelPrice = {
  model: 'claude-haiku-4-5', batch: batchRates, standard: standardRates, longContext: undefined, geoPermille: undefined,
  contextTokensMax: 200_000, outputTokensMax: 64_000, outputTokensMaxExtended: undefined, status: 'active',
};

/** The value, or a failed test. */
export function must<Value>(value: Value | undefined | null): Value {
  if (value === undefined || value === null) throw new Error('the fixture is wrong: a value is missing');
  return value;
}

/** A succeeded `result`; content blocks and message fields can be replaced. */
export function succeeded(text: string, over: Readonly<Record<string, unknown>> = {}): object {
  return {
    type: 'succeeded',
    message: {
      id: 'msg_01X', type: 'message', role: 'assistant', model: answeredModel, content: [{ type: 'text', text }],
      stop_reason: 'end_turn', stop_sequence: null,
      usage: {
        input_tokens: 16, cache_creation_input_tokens: 0, cache_read_input_tokens: 0,
        cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
        output_tokens: 5, service_tier: 'batch', inference_geo: 'not_available',
      },
      ...over,
    },
  };
}

/** An errored `result`, doubly nested as the provider sends it. */
export function errored(type: string, message: string): object {
  return { type: 'errored', error: { type: 'error', error: { details: { error_visibility: 'user_facing' }, type, message }, request_id: null } };
}

/** One prompt of the fixture: its topic and what became of it. A missing result: the line never came. */
export interface FixtureRow {
  readonly topic: string;
  readonly result?: object;
  readonly fate?: 'retried' | Omit<DeadRow, 'index'>;
  readonly metadata?: unknown;
}

/** Usage of the fixture's succeeded rows. */
export const rowUsage: Usage = { ...noUsage, inputTokens: 16, outputTokens: 5 };

export interface Fixture {
  readonly outcome: ArchiveOutcome;
  readonly rows: readonly ChunkRow[];
}

/** `disturb` changes the result lines before they are stored; `firstRow` numbers the source; `isOfBefore`: as it was written when every row was rounded by itself. */
export interface FixtureOptions {
  readonly ordinal?: number;
  readonly isRejected?: boolean;
  readonly firstRow?: number;
  readonly isOfBefore?: boolean;
  readonly disturb?: (lines: readonly string[]) => string;
}

/** Puts chunks, results and outcome into a lake: one chunk for each run of rows of one topic. */
export async function makeArchive(store: Store, rows: readonly FixtureRow[], options: FixtureOptions = {}): Promise<Fixture> {
  const archive = archiveId(tag, options.ordinal ?? 1);
  const chunks: ArchiveChunkOutcome[] = [];
  const chunkRows: ChunkRow[] = [];
  for (let first = 0; first < rows.length; ) {
    const topic = must(rows[first]).topic;
    let last = first;
    while (rows[last + 1]?.topic === topic) last++;
    chunks.push(await putChunk(store, rows.slice(first, last + 1), topic, first, (options.firstRow ?? 1) + first, chunkRows, options.isOfBefore === true));
    first = last + 1;
  }
  const lines = options.isRejected ? undefined : Buffer.from((options.disturb ?? joined)(resultLines(archive, rows, chunkRows)));
  const resultsKey = resultLinesKey(run, archive);
  const sha256 = lines ? await putBytes(store, resultsKey, lines) : '';
  const outcome: ArchiveOutcome = {
    v: 1, archive, run, dt: '2026-11-21', account: options.isRejected ? null : 'acc', batch: options.isRejected ? null : batch,
    rows: rows.length, resultsKey: lines ? resultsKey : null, resultsBytes: lines?.length ?? 0, resultsSha256: sha256,
    acceptedAtMs: openedAtMs, submittedAtMs: options.isRejected ? null : openedAtMs + 60_000, endedAtMs: options.isRejected ? null : openedAtMs + 3_600_000,
    source: 'in.jsonl', priceVersion: '2026-11-21', ...(options.isOfBefore ? {} : { rounding: 'part' as const }), prices: { [answeredModel]: price }, chunks,
    retried: rows.flatMap((row, index) => (row.fate === 'retried' ? [[index, index] as const] : [])),
    dead: rows.flatMap((row, index) => (typeof row.fate === 'object' ? [{ index, ...row.fate }] : [])),
  };
  await putDocument(store, outcomeKey(run, archive), outcome);
  return { outcome, rows: chunkRows };
}

async function putChunk(store: Store, rows: readonly FixtureRow[], topic: string, firstIndex: number, sourceRow: number, out: ChunkRow[], isOfBefore: boolean): Promise<ArchiveChunkOutcome> {
  const segment = segmentName(topic, '8k', 'normal');
  const writer = new ChunkWriter({ run, segment, client: 'default', attempt: 1, source: 'in.jsonl' });
  for (const [place, { metadata }] of rows.entries()) {
    const params = Buffer.from(JSON.stringify({ model: 'claude-haiku-4-5', max_tokens: 256, messages: [{ role: 'user', content: `question ${sourceRow + place}` }] }));
    const row: ChunkRow = {
      id: `invoice-${sourceRow + place} “n°”`, row: sourceRow + place, at: 100 * place, bytes: params.length,
      sha: createHash('sha256').update(params).digest('hex'), model: 'claude-haiku-4-5', expect: 20, in: 200, out: 256, usd: 900,
      ...(metadata === undefined ? {} : { metadata }),
    };
    writer.addRow(params, row);
    out.push(row);
  }
  const chunk = chunkId(tag, segment, sourceRow, sourceRow + rows.length - 1);
  const sealed = writer.seal(chunk);
  await store.put(spoolKey(run, chunk), sealed);
  const count = rows.filter((row) => row.fate === undefined).length;
  const sumOf = (lane: 'batch' | 'standard'): number => {
    const femtoUsd = rowFemtoUsd(rowUsage, price, lane, false);
    return microUsdUp((isOfBefore ? femtoUsdHalfUp(femtoUsd) : femtoUsd) * BigInt(count));
  };
  const counts = { succeeded: count, retried: rows.filter((row) => row.fate === 'retried').length, deadLettered: rows.filter((row) => typeof row.fate === 'object').length };
  const amounts = { usage: Array.from({ length: count }, () => rowUsage).reduce(addUsage, noUsage), microUsd: sumOf('batch'), standardMicroUsd: sumOf('standard') };
  return {
    chunk, ...counts, ...amounts, overBound: 0, spends: [{ model: price.model, rate: 'usual', isGeoPinned: false, ...counts, ...amounts }],
    segment, client: 'default', attempt: 1, spoolKey: spoolKey(run, chunk), spoolRows: sealed.footer.rows,
    spoolParamsBytes: sealed.footer.paramsBytes, spoolIndexBytes: sealed.footer.indexBytes, from: 0, to: rows.length - 1, firstIndex,
  };
}

/** The result lines in an order that is not the archive's. */
function resultLines(archive: ArchiveId, rows: readonly FixtureRow[], chunkRows: readonly ChunkRow[]): readonly string[] {
  const lines = rows.flatMap(({ result }, index) =>
    result ? [`${JSON.stringify({ custom_id: customId(archive, index, must(chunkRows[index]).sha), result })}`] : []);
  return [...lines.filter((_, place) => place % 2 === 1).reverse(), ...lines.filter((_, place) => place % 2 === 0)];
}

function joined(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

/** Creates an object from bytes; returns its digest. */
export async function putBytes(store: Store, key: string, bytes: Buffer): Promise<string> {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  await store.put(key, { blocks: [bytes], sizeBytes: bytes.length, sha256 });
  return sha256;
}

