/**
 * The corpus of the benchmark: seeded text that looks like what language models are given and give back. Lengths are
 * log-normal (median 2.5 KB, mean about 5.4 KB, 99th percentile about 45 KB), 12 topics and 3 priorities take turns at
 * random, and 72 % of the prompts have a character beyond ASCII, as ordinary prompts do (performance.md, Ingest).
 *
 * Text is made once, as a pool of sentences that are JSON already; a document is a run of them from a random place on. So
 * a line costs one copy, and a benchmark that generates its input on the fly measures the product and not the generator.
 * No line repeats within the 32 KB that gzip looks back.
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';

export const topics = ['invoices', 'contracts', 'tickets', 'reviews', 'claims', 'resumes', 'papers', 'patents', 'emails', 'calls', 'filings', 'manuals'] as const;
export const priorities = ['high', 'normal', 'low'] as const;
export const model = 'claude-haiku-4-5';

/** Context classes that this corpus fills: 12 topics, 3 priorities and these make 144 segments. */
export const contexts = [
  { name: '2k', tokensMax: 2_000 },
  { name: '4k', tokensMax: 4_000 },
  { name: '8k', tokensMax: 8_000 },
  { name: '1m', tokensMax: 1_300_000 },
] as const;

const medianBytes = 2_500;
const sigma = Math.sqrt(2 * Math.log(5_400 / medianBytes));
const textBytesMax = 1_000_000;
const poolBytes = 6 * 1024 * 1024;
const beyondAsciiShare = 0.72;

/** A small generator that gives the same numbers everywhere (mulberry32); 0 up to 1. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A log-normal length in bytes. */
function lengthOf(random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Math.min(Math.round(medianBytes * Math.exp(sigma * normal)), textBytesMax);
}

/** Sentences in a row, already escaped as the inside of a JSON string, and where each begins. */
class TextPool {
  readonly #bytes: Buffer;
  readonly #starts: Uint32Array;

  constructor(random: () => number, isAscii: boolean) {
    const words = makeWords(random, isAscii);
    const sentences: Buffer[] = [];
    const starts: number[] = [];
    let sizeBytes = 0;
    while (sizeBytes < poolBytes) {
      const sentence = Buffer.from(makeSentence(random, words, isAscii), 'utf8');
      starts.push(sizeBytes);
      sentences.push(sentence);
      sizeBytes += sentence.length;
    }
    this.#bytes = Buffer.concat(sentences);
    this.#starts = Uint32Array.from(starts);
  }

  /** Copies whole sentences, about `length` bytes of them, to `target` at `at`; returns where they end. */
  copy(random: () => number, length: number, target: Buffer, at: number): number {
    let first = Math.floor(random() * this.#starts.length);
    let end = at;
    while (end - at < length) {
      const from = this.#starts[first] ?? 0;
      const to = this.#ceiling(from + length - (end - at));
      end += this.#bytes.copy(target, end, from, to);
      first = 0;
    }
    return end;
  }

  /** The first sentence border at or after an offset, or the end of the pool. */
  #ceiling(offset: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] ?? 0) < offset) low = middle + 1;
      else high = middle;
    }
    return this.#starts[low] ?? this.#bytes.length;
  }
}

const syllables = ['re', 'con', 'ter', 'in', 'de', 'pro', 'ment', 'ist', 'al', 'ver', 'sal', 'ten', 'or', 'mi', 'cal', 'un', 'ber', 'lan', 'sti', 'ga', 'pre', 'tion', 'er', 'ous', 'ly', 'com', 'ra', 'vis', 'do', 'quel', 'fa', 'nor', 'shi', 'plu', 'wex', 'ark', 'hol', 'jun', 'kep', 'zim'];
const accented = ['café', 'naïve', 'Müller', 'résumé', 'señor', 'Zürich', 'façade', 'über', 'coöperate', 'Ångström', 'Dvořák', 'Łódź', 'jalapeño', '東京', '請求書', 'Привет', 'договор', '😀', '✅', '€', '→'];

/** Some 6,000 words, the frequent ones short, as in any language. */
function makeWords(random: () => number, isAscii: boolean): readonly string[] {
  const words: string[] = [];
  for (let rank = 0; rank < 6_000; rank += 1) {
    let word = '';
    const parts = 1 + Math.floor(random() * (rank < 200 ? 1.5 : 4));
    for (let part = 0; part < parts; part += 1) word += syllables[Math.floor(random() * syllables.length)] ?? '';
    words.push(word);
  }
  if (!isAscii) for (const word of accented) words[Math.floor(random() * 300)] = word;
  return words;
}

function makeSentence(random: () => number, words: readonly string[], isAscii: boolean): string {
  const length = 6 + Math.floor(random() * 16);
  let text = '';
  for (let index = 0; index < length; index += 1) {
    // Zipf, roughly: half of all words are among the 80 most frequent.
    const word = words[Math.floor(words.length ** random()) - 1] ?? 'the';
    text += index === 0 ? word.charAt(0).toUpperCase() + word.slice(1) : ` ${word}`;
    if (random() < 0.04) text += ` ${Math.floor(random() * 100_000)}`;
  }
  const kind = random();
  if (kind < 0.06) return `\\"${text},\\" she wrote. `;
  if (kind < 0.18) return `${text}.\\n\\n`;
  if (kind < 0.24) return `- ${text}\\n`;
  if (!isAscii && kind < 0.34) return `“${text}” – `;
  if (!isAscii && kind < 0.3405) return `${text} ½ `;
  return `${text}. `;
}

/** Makes the corpus of a seed. Ids, topics, priorities and texts depend on the seed and the row alone. */
export class Corpus {
  readonly #random: () => number;
  readonly #ascii: TextPool;
  readonly #wide: TextPool;
  readonly #line = Buffer.allocUnsafe(textBytesMax + 8_192);
  #row = 0;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#ascii = new TextPool(this.#random, true);
    this.#wide = new TextPool(this.#random, false);
  }

  /** The next prompt as a line of the product's own shape, newline included. Valid until the next call. */
  nextPrompt(): Buffer {
    const random = this.#random;
    const topic = topics[Math.floor(random() * topics.length)] ?? topics[0];
    const priority = priorities[Math.floor(random() * priorities.length)] ?? priorities[0];
    const line = this.#line;
    let at = line.write(`{"id":"doc-${String(this.#row++).padStart(8, '0')}","topic":"${topic}","priority":"${priority}","params":{"model":"${model}","max_tokens":256,"messages":[{"role":"user","content":"`, 'latin1');
    at = this.#text(line, at, Math.max(lengthOf(random) - at - 8, 40));
    at += line.write('"}]}}\n', at, 'latin1');
    return line.subarray(0, at);
  }

  /** What follows the `custom_id` in a result line, newline included: an answer of a random length, or of `textBytes`. */
  nextAnswer(textBytes?: number): Buffer {
    const random = this.#random;
    const length = textBytes ?? Math.max(lengthOf(random) - 500, 100);
    const line = Buffer.allocUnsafe(length + 8_192);
    const number = String(this.#row++).padStart(24, '0');
    let at = line.write(`","result":{"type":"succeeded","message":{"id":"msg_${number}","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":[{"type":"text","text":"`, 'latin1');
    at = this.#text(line, at, length);
    const tokens = Math.ceil(length / 4);
    at += line.write(
      `"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":${300 + (tokens % 997)},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,` +
        `"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":${Math.min(tokens, 256)},"service_tier":"batch","inference_geo":"global"}}}}\n`,
      at,
      'latin1',
    );
    return line.subarray(0, at);
  }

  #text(target: Buffer, at: number, length: number): number {
    if (this.#random() >= beyondAsciiShare) return this.#ascii.copy(this.#random, length, target, at);
    const start = at + target.write('“', at, 'utf8');
    return this.#wide.copy(this.#random, length, target, start);
  }
}

/** Prompts in blocks of about 1 MB, until there are `rows` of them or `sizeBytes` bytes. Blocks are not reused. */
export function* promptBlocks(seed: number, rows: number, sizeBytes = Infinity): Generator<Buffer> {
  const corpus = new Corpus(seed);
  let block = Buffer.allocUnsafe(2 * 1024 * 1024);
  let used = 0;
  let made = 0;
  for (let row = 0; row < rows && made < sizeBytes; row += 1) {
    const line = corpus.nextPrompt();
    if (used + line.length > block.length) {
      yield block.subarray(0, used);
      block = Buffer.allocUnsafe(2 * 1024 * 1024);
      used = 0;
    }
    used += line.copy(block, used);
    made += line.length;
  }
  yield block.subarray(0, used);
}

/** What a file of prompts turned out to be. */
export interface CorpusFile {
  readonly path: string;
  readonly rows: number;
  readonly sizeBytes: number;
}

/** Writes a file of prompts. */
export async function writeCorpus(path: string, seed: number, rows: number, bytesMax = Infinity): Promise<CorpusFile> {
  const file = createWriteStream(path);
  let sizeBytes = 0;
  let lines = 0;
  for (const block of promptBlocks(seed, rows, bytesMax)) {
    sizeBytes += block.length;
    for (let at = block.indexOf(0x0a); at >= 0; at = block.indexOf(0x0a, at + 1)) lines += 1;
    if (!file.write(block)) await once(file, 'drain');
  }
  file.end();
  await finished(file);
  return { path, rows: lines, sizeBytes };
}
