/**
 * The document of a replan: what an operator made of the held chunks of a segment, who, why, and from which chunks to
 * which. It is written once, after the new chunks are in the spool and before the ledger acts, so whoever finds it can
 * carry it out: the same command, or a rebuild of the ledger.
 *
 * Per chunk it says which rows go on, and in which new chunk; the others are left out of the sample. The original stays in
 * the spool, so an exported row and a retry find the document as the user gave it.
 */
import type { ChunkFooter } from './chunk.ts';
import { invariant } from './errors.ts';
import { sizeOfRanges, type IndexRanges } from './outcome.ts';
import type { ChunkId, RunKey, SegmentName } from './segment.ts';
import type { SpoolRange } from './store/spool.ts';

/** What is changed of held rows; what is not given stays. */
export interface ReplanOption {
  /** The model of every row, a name of the price table. */
  readonly model?: string | undefined;
  /** At most so many output tokens; a row that asks for fewer keeps its own. */
  readonly maxTokens?: number | undefined;
  /** How many rows go on; the others are left out for good. */
  readonly sample?: { readonly rows: number } | { readonly percent: number } | undefined;
}

/** A chunk that was held, and what became of its rows. */
export interface ReplannedChunk extends SpoolRange {
  readonly chunk: ChunkId;
  readonly run: RunKey;
  readonly client: string;
  readonly attempt: number;
  /** The rows that go on, counted from the chunk's first one. */
  readonly kept: IndexRanges;
  /** The chunk that carries them on, as it stands in the spool; absent when no row of it goes on. */
  readonly successor?: { readonly footer: ChunkFooter; readonly spoolKey: string } | undefined;
}

/** `journal/replans/<segment>.<digest>.json`. */
export interface ReplanDocument {
  readonly v: 1;
  /** `<segment>.<digest>`; the digest is over the option, the prices and the chunks, so the same decision has one name. */
  readonly replan: string;
  readonly segment: SegmentName;
  /** Set when only what was held of this run was meant; without it, all that the segment held. */
  readonly run?: RunKey | undefined;
  readonly by: string;
  readonly reason: string;
  /** Unix ms. */
  readonly decidedAtMs: number;
  readonly option: ReplanOption;
  readonly priceVersion: string;
  readonly chunks: readonly ReplannedChunk[];
}

/** 1 for every row of a chunk that goes on, by its place in the chunk. */
export function keptMask({ kept, from, to }: Pick<ReplannedChunk, 'kept' | 'from' | 'to'>): Uint8Array {
  const mask = new Uint8Array(to - from + 1);
  for (const [first, last] of kept) mask.fill(1, first, last + 1);
  return mask;
}

/** What a document says of one chunk. A chunk that it does not name was never given to it. */
export function replannedIn(document: ReplanDocument, chunk: ChunkId): ReplannedChunk {
  const found = document.chunks.find((each) => each.chunk === chunk);
  invariant(found !== undefined, `the replan ${document.replan} does not name the chunk ${chunk}`);
  return found;
}

/** How many rows of a replan go on and how many are left out. */
export function rowsOf({ chunks }: Pick<ReplanDocument, 'chunks'>): { readonly kept: number; readonly notSampled: number } {
  const rows = chunks.reduce((sum, chunk) => sum + chunk.to - chunk.from + 1, 0);
  const kept = chunks.reduce((sum, chunk) => sum + sizeOfRanges(chunk.kept), 0);
  return { kept, notSampled: rows - kept };
}
