/**
 * Judgements on their way from the thread that judges: columns instead of objects, because copying an object between two
 * threads costs more than judging its line. What a judgement holds and few have, travels beside the columns.
 */
import { hash } from 'node:crypto';
import type { Priority, SegmentName } from '../segments/segment.ts';
import type { Fault } from './faults.ts';
import { digestBytes } from './id-log.ts';
import { noCuts } from './judge.ts';
import type { Judgement } from './judge.ts';
import type { PrefixCut } from './prefix.ts';
import { idDigest } from './seen-ids.ts';

/** The judgements on the lines of one batch. */
export interface JudgementColumns {
  /** For each line its numbers, as `pack` writes them. */
  readonly numbers: Float64Array<ArrayBuffer>;
  /** For each prompt id, topic, priority, client, model and segment. */
  readonly words: readonly string[];
  /** For each prompt the digest of its id, as `SeenIds` takes it. */
  readonly idDigests: Uint8Array<ArrayBuffer>;
  /** sha256 of the params of each prompt, hex; '' where they may yet be marked. Empty where nobody asked for them. */
  readonly shas: readonly string[];
  readonly cuts: readonly { readonly line: number; readonly cuts: readonly PrefixCut[] }[];
  readonly metadata: readonly { readonly line: number; readonly json: string }[];
  readonly faults: readonly { readonly line: number; readonly fault: Fault }[];
  /** Params that do not stand in their line, one after the other. */
  readonly made: Uint8Array<ArrayBuffer>;
}

const numbersOfLine = 9;
const wordsOfPrompt = 6;
/** Bits of the last number. */
const promptBit = 1;
const geoBit = 2;
const madeBit = 4;

/** A judgement as it was unpacked, with the digest of its prompt's id, and the sha256 of its params, hex, if it came along. */
export interface Unpacked {
  readonly judgement: Judgement;
  /** What `SeenIds.add` takes; undefined for a line that was refused. */
  readonly idDigest: Buffer | undefined;
  readonly paramsSha: string | undefined;
}

/** Packs judgements on lines that stand in `bytes`. Params that are a slice of it stay where they are. */
export function pack(judgements: readonly Judgement[], bytes: Buffer, isDigested: boolean): JudgementColumns {
  const numbers = new Float64Array(judgements.length * numbersOfLine);
  const words: string[] = [];
  const idDigests = new Uint8Array(judgements.length * digestBytes);
  let prompts = 0;
  const shas: string[] = [];
  const cuts: { line: number; cuts: readonly PrefixCut[] }[] = [];
  const metadata: { line: number; json: string }[] = [];
  const faults: { line: number; fault: Fault }[] = [];
  const made: Buffer[] = [];
  let madeBytes = 0;
  for (const [line, judgement] of judgements.entries()) {
    if (judgement.kind === 'rejected') {
      faults.push({ line, fault: judgement.fault });
      continue;
    }
    const { prompt, segment, isGeoPinned } = judgement;
    const { params, estimate } = prompt;
    const isMade = params.buffer !== bytes.buffer;
    const from = isMade ? madeBytes : params.byteOffset - bytes.byteOffset;
    if (isMade) {
      made.push(params);
      madeBytes += params.length;
    }
    const at = line * numbersOfLine;
    numbers[at] = from;
    numbers[at + 1] = from + params.length;
    numbers[at + 2] = estimate.inputTokensExpected;
    numbers[at + 3] = estimate.inputTokensMax;
    numbers[at + 4] = estimate.outputTokensMax;
    numbers[at + 5] = estimate.tokensMax;
    numbers[at + 6] = estimate.microUsdMax;
    numbers[at + 7] = prompt.deadlineMs ?? NaN;
    numbers[at + 8] = promptBit | (isGeoPinned ? geoBit : 0) | (isMade ? madeBit : 0);
    idDigests.set(idDigest(prompt.id).subarray(0, digestBytes), prompts * digestBytes);
    prompts += 1;
    words.push(prompt.id, prompt.topic, prompt.priority, prompt.client, prompt.model, segment);
    if (judgement.cuts.length > 0) cuts.push({ line, cuts: judgement.cuts });
    if (isDigested) shas.push(judgement.cuts.length > 0 ? '' : hash('sha256', params, 'hex'));
    if (prompt.metadataJson !== undefined) metadata.push({ line, json: prompt.metadataJson });
  }
  return { numbers, words, idDigests, shas, cuts, metadata, faults, made: joined(made, madeBytes) };
}

/** Yields the judgements that were packed, in their order; `bytes` are those of the batch. */
export function* unpack({ numbers, words, idDigests, shas, cuts, metadata, faults, made }: JudgementColumns, bytes: Buffer): Generator<Unpacked, void, void> {
  const madeParams = Buffer.from(made.buffer);
  const digests = Buffer.from(idDigests.buffer);
  let prompt = 0;
  let noted = 0;
  let refused = 0;
  let cut = 0;
  for (let line = 0, at = 0; at < numbers.length; line += 1, at += numbersOfLine) {
    const bits = numbers[at + 8] ?? 0;
    const found = faults[refused];
    if ((bits & promptBit) === 0 && found) {
      refused += 1;
      yield { judgement: { kind: 'rejected', fault: found.fault }, idDigest: undefined, paramsSha: undefined };
      continue;
    }
    const isNoted = metadata[noted]?.line === line;
    const metadataJson = isNoted ? metadata[noted]?.json : undefined;
    if (isNoted) noted += 1;
    const sharable = cuts[cut]?.line === line ? cuts[cut] : undefined;
    if (sharable) cut += 1;
    const deadline = numbers[at + 7] ?? NaN;
    const word = prompt * wordsOfPrompt;
    const judgement: Judgement = {
      kind: 'prompt',
      prompt: {
        id: words[word] ?? '',
        topic: words[word + 1] ?? '',
        priority: words[word + 2] as Priority,
        client: words[word + 3] ?? '',
        deadlineMs: Number.isNaN(deadline) ? undefined : deadline,
        metadataJson,
        params: ((bits & madeBit) === 0 ? bytes : madeParams).subarray(numbers[at], numbers[at + 1]),
        model: words[word + 4] ?? '',
        estimate: {
          inputTokensExpected: numbers[at + 2] ?? 0,
          inputTokensMax: numbers[at + 3] ?? 0,
          outputTokensMax: numbers[at + 4] ?? 0,
          tokensMax: numbers[at + 5] ?? 0,
          microUsdMax: numbers[at + 6] ?? 0,
        },
      },
      segment: words[word + 5] as SegmentName,
      isGeoPinned: (bits & geoBit) !== 0,
      cuts: sharable?.cuts ?? noCuts,
    };
    yield { judgement, idDigest: digests.subarray(prompt * digestBytes, (prompt + 1) * digestBytes), paramsSha: shas[prompt] === '' ? undefined : shas[prompt] };
    prompt += 1;
  }
}

/** In memory of its own, which can be handed to another thread. */
function joined(parts: readonly Buffer[], sizeBytes: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(sizeBytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
