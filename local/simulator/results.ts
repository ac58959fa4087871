import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import type { Exchange, Reply } from './exchange.ts';
import type { FaultRule } from './faults.ts';
import type { BatchRecord } from './records.ts';
import { identifier, uniform } from './seeded.ts';
import type { World } from './world.ts';

/**
 * Streams a results file, as it is or as a fault spoils it. Without a fault the file goes out in large pieces; with one it goes line by
 * line. Nothing on disk is changed, so the next download is sound unless a fault strikes it too.
 */

const PIECE_BYTES = 262_144;

/** The faults that strike one download. */
interface Spoilage {
  /** Whole rows after which the download ends. */
  readonly endAfter: number | undefined;
  /** True to send half of the next row as well. */
  readonly insideLine: boolean;
  readonly isAbort: boolean;
  readonly duplicated: number;
  readonly missing: number;
  readonly foreign: number;
  readonly isCrlf: boolean;
}

/** The reply that carries the results (claude-batches.md 1.7). */
export function resultsReply(world: World, exchange: Exchange, record: BatchRecord): Reply {
  const path = join(world.records.folderOf(record.id), 'results.jsonl');
  const spoilage = spoilageOf(exchange, record);
  return {
    kind: 'stream',
    status: 200,
    headers: {
      'content-type': 'application/x-jsonl',
      'content-disposition': `attachment; filename="${record.id}_results.jsonl"`,
    },
    pieces: spoilage === undefined ? wholeFile(path) : spoiled(path, record, spoilage, world.settings.seed),
  };
}

function spoilageOf(exchange: Exchange, record: BatchRecord): Spoilage | undefined {
  const { faults } = exchange;
  const truncated = faults.take('results_truncated');
  const cut = truncated === undefined ? faults.take('results_cut') : undefined;
  const duplicated = faults.take('results_duplicated');
  const missing = faults.take('results_missing');
  const foreign = faults.take('results_foreign');
  const crlf = faults.take('results_crlf');
  if ([truncated, cut, duplicated, missing, foreign, crlf].every((rule) => rule === undefined)) {
    return undefined;
  }
  const ending = truncated ?? cut;
  const rows = (rule: FaultRule | undefined): number => (rule === undefined ? 0 : (rule.rows ?? 1));
  return {
    endAfter: ending === undefined ? undefined : (ending.rows ?? record.requests >> 1),
    insideLine: cut !== undefined,
    isAbort: ending?.abort === true,
    duplicated: rows(duplicated),
    missing: rows(missing),
    foreign: rows(foreign),
    isCrlf: crlf !== undefined,
  };
}

async function* wholeFile(path: string): AsyncGenerator<Buffer, 'end' | 'abort'> {
  for await (const piece of createReadStream(path, { highWaterMark: PIECE_BYTES })) {
    yield piece;
  }
  return 'end';
}

/** The first `missing` rows are left out, the next `duplicated` ones are sent twice, `foreign` ones come after those. */
async function* spoiled(path: string, record: BatchRecord, spoilage: Spoilage, seed: number): AsyncGenerator<string, 'end' | 'abort'> {
  const ending = spoilage.isCrlf ? '\r\n' : '\n';
  let seen = 0;
  let sent = 0;
  for await (const line of linesOf(path)) {
    seen += 1;
    if (seen <= spoilage.missing) {
      continue;
    }
    if (spoilage.endAfter !== undefined && sent >= spoilage.endAfter) {
      if (spoilage.insideLine) {
        yield line.slice(0, Math.max(1, line.length >> 1));
      }
      return spoilage.isAbort ? 'abort' : 'end';
    }
    sent += 1;
    yield line + ending;
    if (seen - spoilage.missing <= spoilage.duplicated) {
      yield line + ending;
    }
    if (seen === spoilage.missing + spoilage.duplicated + 1) {
      yield foreignLines(record, spoilage.foreign, seed, ending);
    }
  }
  if (seen <= spoilage.missing + spoilage.duplicated) {
    yield foreignLines(record, spoilage.foreign, seed, ending);
  }
  return 'end';
}

async function* linesOf(path: string): AsyncGenerator<string> {
  let rest = '';
  for await (const piece of createReadStream(path, { highWaterMark: PIECE_BYTES, encoding: 'utf8' })) {
    const lines = (rest + String(piece)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

/** Well-formed rows whose ids nobody here has sent. */
function foreignLines(record: BatchRecord, count: number, seed: number, ending: string): string {
  let lines = '';
  for (let index = 0; index < count; index += 1) {
    const customId = identifier('foreign-', 12, seed, record.id, index, uniform(seed, record.id));
    lines += JSON.stringify({ custom_id: customId, result: { type: 'canceled' } }) + ending;
  }
  return lines;
}
