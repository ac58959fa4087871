/**
 * The beginning of a request that other requests may share word for word, and the marker that asks the provider to keep it.
 *
 * A prompt is cached from its beginning, in the order tools, system, messages (claude-batches.md 5). So it is cut at two
 * places: behind the system prompt, or behind the tools where there is none; and behind the first block of the first
 * message, where other blocks follow it, as in one long document with many questions. A prefix inside of a string is not
 * taken: to mark it the user's text would have to be split, and nothing of a prompt changes beyond the marker.
 *
 * Two requests share a prefix when the bytes of these parts are equal and the model is. Equal bytes are more than the
 * provider asks for, so a prefix that is written in two ways costs a saving and never an answer.
 *
 * A marked request: the string of `system` has become its one text block, which the provider reads as the same.
 *   {"model":"claude-haiku-4-5","max_tokens":256,"system":[{"type":"text","text":"You are …","cache_control":{"type":"ephemeral","ttl":"1h"}}],
 *    "messages":[…]}
 */
import { hash } from 'node:crypto';
import { textTokensExpected } from '../segments/estimate.ts';
import type { EstimatedModel, ParsedParams } from '../segments/estimate.ts';
import { JsonScanner } from '../segments/json-scan.ts';

/** A place up to which a request can be shared. */
export interface PrefixCut {
  /** Names model and content of the prefix: sixteen hex digits. */
  readonly digest: string;
  /** Expected tokens of the prefix. */
  readonly tokensExpected: number;
  /** Where the marker goes: before the brace that closes the block which ends at the cut, or around the string `[from, to)`. */
  readonly mark: { readonly kind: 'block'; readonly at: number } | { readonly kind: 'string'; readonly from: number; readonly to: number };
}

/** The facts of a model that decide about a marker. */
export interface CachedModel extends EstimatedModel {
  /** The shortest prefix that is cached; on a shorter one a marker is ignored. undefined: the model caches nothing. */
  readonly cacheTokensMin: number | undefined;
}

/** The marker. An hour, because batches outlive the five minutes of the other kind (claude-batches.md 5). */
const marker = ',"cache_control":{"type":"ephemeral","ttl":"1h"}}';
const blockHead = Buffer.from('[{"type":"text","text":');
const blockTail = Buffer.from(`${marker}]`);
const markerTail = Buffer.from(marker);

/** Bytes that a marker can add at most. */
export const markerBytesMax = blockHead.length + blockTail.length;

const keyNames = ['tools', 'system', 'messages', 'content'] as const;
const [toolsKey, systemKey, messagesKey, contentKey] = [0, 1, 2, 3];
const scanner = new JsonScanner(keyNames);

interface Range {
  readonly from: number;
  readonly to: number;
}

/**
 * The cuts of a request that is long enough to be cached there, the longest prefix first. `params` is an accepted JSON
 * object and `parsed` the same, its long strings perhaps cut. The caller has seen that it holds no marker of its own.
 */
export function prefixCuts(params: Buffer, parsed: ParsedParams, model: CachedModel): readonly PrefixCut[] {
  const { cacheTokensMin, tokenizer } = model;
  const isFirstShared = isMarkable(contentsOf(parsed)[0]) && contentsOf(parsed).length > 1;
  if (cacheTokensMin === undefined || !(isFirstShared || isGiven(parsed['system']) || isGiven(parsed['tools']))) return [];
  if (textTokensExpected(params.length, tokenizer) < cacheTokensMin) return [];
  const { tools, system, first } = rangesOf(params, isFirstShared);
  const cuts: PrefixCut[] = [];
  let bytes = 0;
  const digests: string[] = [model.model];
  const add = (range: Range): void => {
    bytes += range.to - range.from;
    digests.push(hash('sha256', params.subarray(range.from, range.to), 'hex'));
  };
  const cut = (mark: PrefixCut['mark'] | undefined): void => {
    const tokensExpected = textTokensExpected(bytes, tokenizer);
    if (mark && tokensExpected >= cacheTokensMin) cuts.unshift({ digest: hash('sha256', digests.join('\n'), 'hex').slice(0, 16), tokensExpected, mark });
  };
  digests.push('tools');
  if (tools) add(tools);
  digests.push('system');
  if (system) add(system);
  cut(system ? markOfSystem(params, parsed['system'], system) : tools && markOfTools(params, parsed['tools'], tools));
  digests.push('first');
  if (first) {
    add(first);
    cut({ kind: 'block', at: first.to - 1 });
  }
  return cuts;
}

/** The request with the marker at the cut; every other byte is as it was. */
export function markPrefix(params: Uint8Array, { mark }: PrefixCut): Buffer {
  if (mark.kind === 'string') {
    return Buffer.concat([params.subarray(0, mark.from), blockHead, params.subarray(mark.from, mark.to), blockTail, params.subarray(mark.to)]);
  }
  // The marker ends with the brace that it stands before.
  return Buffer.concat([params.subarray(0, mark.at), markerTail, params.subarray(mark.at + 1)]);
}

/** Where the parts stand in the params; empty lists and null are no parts. */
function rangesOf(params: Buffer, isFirstWanted: boolean): { readonly tools?: Range; readonly system?: Range; readonly first?: Range } {
  const found: { tools?: Range; system?: Range; first?: Range } = {};
  scanner.start(params, 0, params.length, true);
  scanner.entersObject();
  for (let hasKey = scanner.firstKey(); hasKey; hasKey = scanner.nextKey()) {
    const { key } = scanner;
    if (key === messagesKey && isFirstWanted) {
      const first = readFirstBlock();
      if (first) found.first = first;
      continue;
    }
    const isNull = scanner.byteAfterSpace() === nullAt;
    const from = scanner.at;
    scanner.skipValue();
    if (isNull || scanner.at - from <= emptyBytes) continue;
    if (key === toolsKey) found.tools = { from, to: scanner.at };
    if (key === systemKey) found.system = { from, to: scanner.at };
  }
  return found;
}

/** First byte of `null`, and the length of an empty list or string. */
const nullAt = 0x6e;
const emptyBytes = 2;

/** Walks the messages and keeps the first block of the first one. */
function readFirstBlock(): Range | undefined {
  let found: Range | undefined;
  scanner.entersArray();
  for (let isFirst = true, hasItem = scanner.firstItem(); hasItem; isFirst = false, hasItem = scanner.nextItem()) {
    if (!isFirst) {
      scanner.skipValue();
      continue;
    }
    scanner.entersObject();
    for (let hasKey = scanner.firstKey(); hasKey; hasKey = scanner.nextKey()) {
      if (scanner.key !== contentKey || !scanner.entersArray()) {
        scanner.skipValue();
        continue;
      }
      for (let isFirstBlock = true, hasBlock = scanner.firstItem(); hasBlock; isFirstBlock = false, hasBlock = scanner.nextItem()) {
        scanner.byteAfterSpace();
        const from = scanner.at;
        scanner.skipValue();
        if (isFirstBlock) found = { from, to: scanner.at };
      }
    }
  }
  return found;
}

function markOfSystem(params: Buffer, system: unknown, range: Range): PrefixCut['mark'] | undefined {
  if (typeof system === 'string') return { kind: 'string', ...range };
  return Array.isArray(system) && isMarkable(system.at(-1)) ? markOfLast(params, range) : undefined;
}

/** A tool that is loaded later is not part of the prompt, and the provider refuses a marker on it. */
function markOfTools(params: Buffer, tools: unknown, range: Range): PrefixCut['mark'] | undefined {
  const last: unknown = Array.isArray(tools) ? tools.at(-1) : undefined;
  return isObject(last) && typeof last['name'] === 'string' && !('cache_control' in last) && !isGiven(last['defer_loading']) ? markOfLast(params, range) : undefined;
}

/** The brace that closes the last object of a list. */
function markOfLast(params: Buffer, { to }: Range): PrefixCut['mark'] {
  return { kind: 'block', at: params.lastIndexOf('}', to - 2) };
}

/** Whether a block is a text that may carry a marker; the provider refuses one on an empty text. */
function isMarkable(block: unknown): boolean {
  return isObject(block) && block['type'] === 'text' && typeof block['text'] === 'string' && block['text'] !== '' && !('cache_control' in block);
}

function contentsOf(params: ParsedParams): readonly unknown[] {
  const message: unknown = Array.isArray(params['messages']) ? params['messages'][0] : undefined;
  return isObject(message) && Array.isArray(message['content']) ? message['content'] : [];
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
