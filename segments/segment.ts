/**
 * The nouns. Everything that travels through Plimsoll is one of these, and every folder, queue, key and log event is
 * named after them: Prompt, Run, Segment, Chunk, Archive, Intent, Batch, Outcome, Export, Ledger, Lake.
 *
 * This file is the door of `segments/`: data and the functions that make ids, nothing that touches the world.
 */
import { createHash } from 'node:crypto';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** The caller's name for one invocation of a producer; `^[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}$`. */
export type RunKey = Branded<'RunKey'>;
/** `topic.class.priority`, for example `invoices.8k.high`; also the name of the segment's BullMQ queue. */
export type SegmentName = Branded<'SegmentName'>;
/** `<run tag>.<segment>.<first row>-<last row>`; a split appends `.<first>-<last>`, rows of the same spool object. */
export type ChunkId = Branded<'ChunkId'>;
/** `<run tag>-<ordinal>`, for example `7f3a91c2ab-000012`; legal inside a provider `custom_id`. */
export type ArchiveId = Branded<'ArchiveId'>;
/** `<archive>-i<ordinal>`: one physical attempt to submit one archive. */
export type IntentId = Branded<'IntentId'>;
/** The provider's name of a Message Batch, `msgbatch_…`. */
export type BatchId = Branded<'BatchId'>;

/** Ordered from first served to last served; `fallback` is where work goes that a quota turned away. */
export const priorities = ['high', 'normal', 'low', 'fallback'] as const;
export type Priority = (typeof priorities)[number];

/** A context class: a name and the largest upper-bound token count that it admits. */
export interface ContextClass {
  readonly name: string;
  readonly tokensMax: number;
}

export const topicPattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;
export const runKeyPattern = /^[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}$/;
export const batchIdPattern = /^msgbatch_[A-Za-z0-9]{8,64}$/;

/** Where one prompt came from; repeated in its exported row. */
export interface SourcePosition {
  /** What the caller named: a path, `-` for standard input, later an S3 URI. */
  readonly uri: string;
  /** 1-based line of the source. */
  readonly row: number;
  /** Offset of the line's first byte in the decompressed source. */
  readonly byteOffset: number;
  /** Where a source is made of objects: the one that the line stands in. */
  readonly origin?: SourceOrigin;
}

/** A line of one object of a bucket. */
export interface SourceOrigin {
  /** `s3://bucket/key`. */
  readonly uri: string;
  /** 1-based line of the object. */
  readonly row: number;
  readonly etag: string;
  /** Absent where the bucket keeps no versions. */
  readonly version?: string;
}

/** One document turned into one Messages request, ready to be spooled. `params` are the final bytes that are sent. */
export interface Prompt {
  readonly id: string;
  readonly topic: string;
  readonly priority: Priority;
  readonly client: string;
  /** Unix ms after which a retry is no longer worth its money; undefined: none. */
  readonly deadlineMs: number | undefined;
  /** The user's metadata as JSON text, repeated in the exported row; undefined: none. */
  readonly metadataJson: string | undefined;
  /** UTF-8 JSON object without a newline. */
  readonly params: Uint8Array;
  readonly model: string;
  readonly source: SourcePosition;
  readonly estimate: Estimate;
  /** Digest of the prefix that it shares with the prompts of its chunk; undefined: it is spooled with the rest. */
  readonly prefix?: string | undefined;
}

/** What one prompt may consume; all integers. */
export interface Estimate {
  /** Expected input tokens, from calibrated bytes per token. */
  readonly inputTokensExpected: number;
  /** Upper bound of input tokens (claude-batches.md 4.3). */
  readonly inputTokensMax: number;
  /** `max_tokens` of the request: output can never exceed it. */
  readonly outputTokensMax: number;
  /** Input bound + output bound: what a token budget reserves. */
  readonly tokensMax: number;
  /** The bound priced at the dearest rate that can apply, integer micro-USD. */
  readonly microUsdMax: number;
}

/** Token usage of one or many rows, by the provider's billing classes. */
export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadInputTokens: number;
  /** All cache writes, whatever their time to live. */
  readonly cacheWriteInputTokens: number;
  /** The part of the cache writes that was written for one hour; they cost more. */
  readonly cacheWrite1hInputTokens: number;
}

export const noUsage: Usage = {
  inputTokens: 0,
  outputTokens: 0,
  cacheReadInputTokens: 0,
  cacheWriteInputTokens: 0,
  cacheWrite1hInputTokens: 0,
};

/** Sums two usages class by class. */
export function addUsage(a: Usage, b: Usage): Usage {
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    cacheReadInputTokens: a.cacheReadInputTokens + b.cacheReadInputTokens,
    cacheWriteInputTokens: a.cacheWriteInputTokens + b.cacheWriteInputTokens,
    cacheWrite1hInputTokens: a.cacheWrite1hInputTokens + b.cacheWrite1hInputTokens,
  };
}

/** All tokens of a usage: what a token budget counts as spent. */
export function totalTokens(usage: Usage): number {
  return usage.inputTokens + usage.outputTokens + usage.cacheReadInputTokens + usage.cacheWriteInputTokens;
}

/** Returns the text as a run key, or undefined when it is not one. */
export function asRunKey(text: string): RunKey | undefined {
  return runKeyPattern.test(text) ? (text as RunKey) : undefined;
}

/** Names a segment. The caller has checked the topic against {@link topicPattern}. */
export function segmentName(topic: string, contextClass: string, priority: Priority): SegmentName {
  return `${topic}.${contextClass}.${priority}` as SegmentName;
}

/** Takes a segment's name apart; undefined when it is not one. Topics hold no dot, so the split is unambiguous. */
export function segmentParts(
  name: string,
): { readonly topic: string; readonly contextClass: string; readonly priority: Priority } | undefined {
  const [topic, contextClass, priority, ...rest] = name.split('.');
  const known = priorities.find((candidate) => candidate === priority);
  if (!topic || !contextClass || !known || rest.length > 0 || !topicPattern.test(topic)) return undefined;
  return { topic, contextClass, priority: known };
}

/**
 * Ten hex characters that stand for a run in ids. They depend on the installation, so two installations that share a
 * workspace never make the same `custom_id`, and on nothing that a second start would see differently.
 */
export function runTag(installationId: string, runKey: RunKey): string {
  return createHash('sha256').update(`${installationId}\n${runKey}`).digest('hex').slice(0, 10);
}

/** Names what rows become durable in the order of their source: segment, client and shared prefix. `add-chunk.lua` does the same. */
export function laneOf({ segment, client, prefix }: { readonly segment: SegmentName; readonly client: string; readonly prefix?: string | undefined }): string {
  return prefix === undefined ? `${segment}|${client}` : `${segment}|${client}|${prefix}`;
}

/** Names a chunk by the source rows it spans: the same rows give the same name and the same bytes. */
export function chunkId(tag: string, segment: SegmentName, firstRow: number, lastRow: number): ChunkId {
  return `${tag}.${segment}.${firstRow}-${lastRow}` as ChunkId;
}

/** Names the part of a chunk that holds rows `first..last` (inclusive, 0-based in the parent). */
export function childChunkId(parent: ChunkId, first: number, last: number): ChunkId {
  return `${parent}.${first}-${last}` as ChunkId;
}

/**
 * Names the chunk that carries the retryable rows of one segment of an archive once more. `round`: how often its rows have
 * gone round for a fault of the account, which uses up no attempt; it stands in the name, so that whoever has the chunk knows it.
 */
export function retryChunkId(archive: ArchiveId, segment: SegmentName, attempt: number, round = 0): ChunkId {
  return `${archive}.${segment}.attempt-${attempt}${round === 0 ? '' : `.round-${round}`}` as ChunkId;
}

/** How often the rows of a chunk, or of a part of it, have gone round for a fault of the account. A replan begins at 0. */
export function roundOf(chunk: ChunkId): number {
  return Number(/\.attempt-\d+\.round-(\d+)\./.exec(chunk)?.[1] ?? 0);
}

/** Names the nth chunk of a run (from 0) that a replan has written; `replan` is `<segment>.<digest>`. */
export function replannedChunkId(tag: string, replan: string, ordinal: number): ChunkId {
  return `${tag}.${replan}.replan-${ordinal}` as ChunkId;
}

/** Whether a chunk was written by a replan: its rows stand in another spool object, too, as they were before. */
export function isReplanned(chunk: ChunkId): boolean {
  return /\.replan-\d+$/.test(chunk);
}

/** The intent of an archive's nth attempt (from 1). */
export function intentId(archive: ArchiveId, ordinal: number): IntentId {
  return `${archive}-i${ordinal}` as IntentId;
}

/** Returns the text as a provider batch id, or undefined: it is never put into a URL otherwise. */
export function asBatchId(text: string): BatchId | undefined {
  return batchIdPattern.test(text) ? (text as BatchId) : undefined;
}

/** Ends a switch over a closed union: a new member that is not handled stops the build. */
export function assertNever(value: never, what: string): never {
  throw new Error(`${what} is not one of the known kinds: ${JSON.stringify(value)}`);
}
