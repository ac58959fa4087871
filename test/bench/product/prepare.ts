/**
 * Makes one sealed archive in a lake, as producer, packer and sealer would have left it, without a ledger: the stages
 * behind it can then be measured alone. Chunks are about 8 MB, rows are cut from the corpus in order.
 *
 *   prepare.ts LAKE BYTES ROWS [SHORT]   stops at BYTES of body or at ROWS rows; SHORT: params of a few bytes
 *
 * Writes LAKE/archive.json (Prepared), and LAKE/prompts.jsonl for the naive join.
 */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { ChunkWriter, type ChunkFooter } from '../../../segments/chunk.ts';
import { spoolKey } from '../../../segments/lake.ts';
import { archiveId, bodyBytes, customId } from '../../../segments/pack.ts';
import { asRunKey, chunkId, segmentName, type RunKey } from '../../../segments/segment.ts';
import { openFolderStore } from '../../../segments/store/folder.ts';
import { archiveBody } from '../../../workers/body.ts';
import type { SealedChunkRange } from '../../../workers/sealer.ts';
import { argument, report } from '../child.ts';
import { Corpus, model } from '../corpus.ts';

/** What `archive.json` holds. */
export interface Prepared {
  readonly archive: string;
  readonly run: string;
  readonly rows: number;
  readonly bodyBytes: number;
  readonly bodySha256: string;
  readonly ranges: readonly SealedChunkRange[];
}

const chunkBytes = 8_000_000;
const tag = 'be9c4be9c4';
const segment = segmentName('invoices', '8k', 'normal');

const run = asRunKey('bench') as RunKey;
const lake = argument(0);
const bytesMax = Number(argument(1));
const rowsMax = Number(argument(2));
const isShort = process.argv.length > 5;
const store = await openFolderStore(lake, Date.now());
const archive = archiveId(tag, 1);
const corpus = new Corpus(5);
const ranges: SealedChunkRange[] = [];
const prompts: string[] = [];
let rows = 0;
let paramsBytes = 0;
let isFull = false;
while (!isFull) {
  const writer = new ChunkWriter({ run, segment, client: 'bench', attempt: 1, source: 'bench.jsonl' });
  while (writer.paramsBytes < chunkBytes && writer.rows < 2_500) {
    const line = corpus.nextPrompt();
    const from = line.indexOf('"params":') + 9;
    const params = isShort ? Buffer.from(`{"n":${rows}}`) : line.subarray(from, line.length - 2);
    isFull = bodyBytes(rows + 1, paramsBytes + params.length) > bytesMax || rows === rowsMax;
    if (isFull) break;
    const sha = createHash('sha256').update(params).digest('hex');
    const id = `doc-${rows}`;
    writer.addRow(params, { id, row: rows + 1, at: paramsBytes, bytes: params.length, sha, model, expect: 100, in: 4_000_000, out: 4_000_000, usd: 1_000_000 });
    prompts.push(`${JSON.stringify({ custom_id: customId(archive, rows, sha), id, topic: 'invoices' })}\n`);
    rows += 1;
    paramsBytes += params.length;
  }
  if (writer.rows === 0) break;
  const sealed = writer.seal(chunkId(tag, segment, writer.firstRow, writer.lastRow));
  await store.put(spoolKey(run, sealed.footer.chunk), sealed);
  ranges.push(rangeOf(sealed.footer, rows));
}
const hash = createHash('sha256');
for await (const block of archiveBody(store, archive, ranges)) hash.update(block);
const prepared: Prepared = { archive, run, rows, bodyBytes: bodyBytes(rows, paramsBytes), bodySha256: hash.digest('hex'), ranges };
await writeFile(`${lake}/archive.json`, JSON.stringify(prepared));
await writeFile(`${lake}/prompts.jsonl`, prompts.join(''));
report({ rows, bodyBytes: prepared.bodyBytes });

function rangeOf(footer: ChunkFooter, next: number): SealedChunkRange {
  return {
    chunk: footer.chunk, segment, client: 'bench', attempt: 1, spoolKey: spoolKey(run, footer.chunk), spoolRows: footer.rows,
    spoolParamsBytes: footer.paramsBytes, spoolIndexBytes: footer.indexBytes, from: 0, to: footer.rows - 1, firstIndex: next - footer.rows,
    tokensMax: footer.tokensMax, microUsdMax: footer.microUsdMax,
  };
}
