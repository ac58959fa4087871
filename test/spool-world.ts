/** Builders for tests that need chunks in a lake: prompts with good defaults, spooled into a folder of their own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChunkWriter, type ChunkFooter, type SealedChunk } from '../segments/chunk.ts';
import { spoolKey } from '../segments/lake.ts';
import type { ModelPrice, Rates } from '../segments/price.ts';
import { chunkId, type ChunkId, type Prompt, type RunKey, type SegmentName } from '../segments/segment.ts';
import { openFolderStore } from '../segments/store/folder.ts';
import type { SpoolRange } from '../segments/store/spool.ts';
import type { Store } from '../segments/store/store.ts';

export const tag = '7f3a91c2ab';
export const run = 'nightly' as RunKey;
export const segment = 'invoices.8k.normal' as SegmentName;

/** A lake in a folder that `close` removes. */
export async function storeForTest(): Promise<{ readonly store: Store; readonly directory: string; close(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'plimsoll-lake-'));
  const store = await openFolderStore(join(directory, 'lake'), Date.now());
  return { store, directory, close: async () => await rm(directory, { recursive: true, force: true }) };
}

/** A prompt whose params are `text` in a request; row is 1-based. Bounds: 100 input and 20 output tokens, 200 micro-USD. */
export function promptOf(row: number, text: string, given: Partial<Prompt> = {}): Prompt {
  return {
    id: `doc-${row}`,
    topic: 'invoices',
    priority: 'normal',
    client: 'etl',
    deadlineMs: undefined,
    metadataJson: undefined,
    params: Buffer.from(JSON.stringify({ model: 'claude-test', max_tokens: 20, messages: [{ role: 'user', content: text }] })),
    model: 'claude-test',
    source: { uri: 'docs.jsonl', row, byteOffset: row * 100 },
    estimate: { inputTokensExpected: 50, inputTokensMax: 100, outputTokensMax: 20, tokensMax: 120, microUsdMax: 200 },
    ...given,
  };
}

/** Collects prompts into one chunk of the run. */
export function sealChunk(prompts: readonly Prompt[], given: { readonly run?: RunKey; readonly segment?: SegmentName; readonly client?: string; readonly tag?: string } = {}): SealedChunk {
  const writer = new ChunkWriter({ run: given.run ?? run, segment: given.segment ?? segment, client: given.client ?? 'etl', attempt: 1, source: 'docs.jsonl' });
  for (const prompt of prompts) writer.add(prompt, false);
  return writer.seal(chunkId(given.tag ?? tag, given.segment ?? segment, writer.firstRow, writer.lastRow));
}

/** Spools a chunk and names all of its rows. */
export async function spool(store: Store, sealed: SealedChunk): Promise<SpoolRange & { readonly footer: ChunkFooter; readonly chunk: ChunkId }> {
  const { footer } = sealed;
  const key = spoolKey(footer.run, footer.chunk);
  await store.put(key, sealed);
  return {
    footer, chunk: footer.chunk, spoolKey: key, spoolRows: footer.rows, spoolParamsBytes: footer.paramsBytes, spoolIndexBytes: footer.indexBytes, from: 0, to: footer.rows - 1,
  };
}

const rates = (factor: number): Rates => ({
  input: 500_000 * factor, output: 2_500_000 * factor, cacheWrite5m: 625_000 * factor, cacheWrite1h: 1_000_000 * factor, cacheRead: 50_000 * factor,
});

/** 0.50 in and 2.50 out, USD per million tokens, in a batch; the double one by one. */
export const testPrice: ModelPrice = {
  model: 'claude-test', batch: rates(1), standard: rates(2), longContext: undefined, geoPermille: undefined,
  contextTokensMax: 200_000, outputTokensMax: 64_000, outputTokensMaxExtended: undefined, status: 'active',
};
