/**
 * A chunk's spool object: the prompts of one segment, one client and one run, immutable once written.
 *
 *   <params of row 0>\n … <params of row n-1>\n          the final bytes that are sent
 *   <index of row 0>\n  … <index of row n-1>\n           who the row is, where it came from, what it may cost
 *   <footer>\n                                           the chunk itself, so that the lake alone can rebuild the ledger
 *
 * One real index line:
 *   {"id":"invoice-1041","row":1041,"at":2837465,"bytes":2311,"sha":"9f…","model":"claude-haiku-4-5","expect":601,
 *    "in":2340,"out":256,"usd":1810,"metadata":{"batch":"a"}}
 *
 * Invariants
 *   K1  The same rows of the same source make the same bytes, so a rewrite after a crash meets an equal object.
 *   K2  `bytes` of the index lines sum to the params section; a reader checks this before it trusts an offset.
 */
import { createHash, hash } from 'node:crypto';
import type { ChunkId, Prompt, RunKey, SegmentName } from './segment.ts';

/** One index line. Short keys: there is one per prompt. */
export interface ChunkRow {
  /** The user's own id. */
  readonly id: string;
  /** 1-based line of the source. */
  readonly row: number;
  /** Byte offset of that line in the decompressed source. */
  readonly at: number;
  /** Length of the params in bytes, without the newline. */
  readonly bytes: number;
  /** sha256 of the params, hex. */
  readonly sha: string;
  readonly model: string;
  /** Expected input tokens. */
  readonly expect: number;
  /** Upper bound of input tokens. */
  readonly in: number;
  /** Upper bound of output tokens. */
  readonly out: number;
  /** Upper bound of the cost, micro-USD. */
  readonly usd: number;
  /** 1 when the request names an inference geography, else absent. */
  readonly geo?: 1;
  /** Unix ms. */
  readonly deadline?: number;
  /** The user's metadata, verbatim JSON value. */
  readonly metadata?: unknown;
}

/** The last line of a spool object. */
export interface ChunkFooter {
  readonly v: 1;
  readonly chunk: ChunkId;
  readonly run: RunKey;
  readonly segment: SegmentName;
  readonly client: string;
  /** 1 for a first submission; each retry adds one. */
  readonly attempt: number;
  /** What the caller named as the source. */
  readonly source: string;
  readonly rows: number;
  /** First and last source row. */
  readonly firstRow: number;
  readonly lastRow: number;
  /** Sum of the params' lengths without newlines. */
  readonly paramsBytes: number;
  readonly indexBytes: number;
  readonly tokensExpected: number;
  readonly tokensMax: number;
  readonly microUsdMax: number;
}

/** What a chunk is made of before it has rows. */
export interface ChunkHeading {
  readonly run: RunKey;
  readonly segment: SegmentName;
  readonly client: string;
  readonly attempt: number;
  readonly source: string;
}

/** A finished chunk: its bytes in order, its footer, and the digest of the whole object. */
export interface SealedChunk {
  readonly footer: ChunkFooter;
  readonly blocks: readonly Uint8Array[];
  readonly sizeBytes: number;
  /** sha256 of the whole object, hex. */
  readonly sha256: string;
}

const blockBytes = 256 * 1024;
const newline = 0x0a;

/**
 * Collects the prompts of one chunk in memory. It copies the params: a slice of the reader's block would keep the whole
 * block alive, and a hundred open segments would then keep the whole input.
 */
export class ChunkWriter {
  readonly heading: ChunkHeading;
  #blocks: Uint8Array[] = [];
  #tail: Buffer | undefined;
  #used = 0;
  #index: string[] = [];
  #paramsBytes = 0;
  #tokensExpected = 0;
  #tokensMax = 0;
  #microUsdMax = 0;
  #firstRow = 0;
  #lastRow = 0;

  constructor(heading: ChunkHeading) {
    this.heading = heading;
  }

  get rows(): number {
    return this.#index.length;
  }

  /** Bytes held in memory, close enough to bound the sum over all open chunks. */
  get sizeBytes(): number {
    return this.#paramsBytes + this.#index.length * 256;
  }

  get paramsBytes(): number {
    return this.#paramsBytes;
  }

  get firstRow(): number {
    return this.#firstRow;
  }

  get lastRow(): number {
    return this.#lastRow;
  }

  /** Adds one prompt as the next row. */
  add(prompt: Prompt, isGeoPinned: boolean): void {
    const { estimate, source } = prompt;
    this.addRow(prompt.params, {
      id: prompt.id,
      row: source.row,
      at: source.byteOffset,
      bytes: prompt.params.length,
      sha: hash('sha256', prompt.params, 'hex'),
      model: prompt.model,
      expect: estimate.inputTokensExpected,
      in: estimate.inputTokensMax,
      out: estimate.outputTokensMax,
      usd: estimate.microUsdMax,
      ...(isGeoPinned ? { geo: 1 as const } : {}),
      ...(prompt.deadlineMs === undefined ? {} : { deadline: prompt.deadlineMs }),
      ...(prompt.metadataJson === undefined ? {} : { metadata: JSON.parse(prompt.metadataJson) as unknown }),
    });
  }

  /** Adds a row whose index line exists already: a retry carries the original line, never a rebuilt one. */
  addRow(params: Uint8Array, row: ChunkRow): void {
    this.#copy(params);
    if (this.#index.length === 0) this.#firstRow = row.row;
    this.#lastRow = row.row;
    this.#index.push(JSON.stringify(row));
    this.#paramsBytes += params.length;
    this.#tokensExpected += row.expect;
    this.#tokensMax += row.in + row.out;
    this.#microUsdMax += row.usd;
  }

  /** Ends the chunk under its id and returns its bytes. The writer must not be used afterwards. */
  seal(chunk: ChunkId): SealedChunk {
    if (this.#tail) this.#blocks.push(this.#tail.subarray(0, this.#used));
    const index = Buffer.from(`${this.#index.join('\n')}\n`, 'utf8');
    const footer: ChunkFooter = {
      v: 1,
      chunk,
      ...this.heading,
      rows: this.#index.length,
      firstRow: this.#firstRow,
      lastRow: this.#lastRow,
      paramsBytes: this.#paramsBytes,
      indexBytes: index.length,
      tokensExpected: this.#tokensExpected,
      tokensMax: this.#tokensMax,
      microUsdMax: this.#microUsdMax,
    };
    const blocks = [...this.#blocks, index, Buffer.from(`${JSON.stringify(footer)}\n`, 'utf8')];
    const digest = createHash('sha256');
    let sizeBytes = 0;
    for (const block of blocks) {
      digest.update(block);
      sizeBytes += block.length;
    }
    return { footer, blocks, sizeBytes, sha256: digest.digest('hex') };
  }

  #copy(params: Uint8Array): void {
    const needed = params.length + 1;
    if (!this.#tail || this.#used + needed > this.#tail.length) {
      if (this.#tail) this.#blocks.push(this.#tail.subarray(0, this.#used));
      this.#tail = Buffer.allocUnsafeSlow(Math.max(blockBytes, needed));
      this.#used = 0;
    }
    this.#tail.set(params, this.#used);
    this.#tail[this.#used + params.length] = newline;
    this.#used += needed;
  }
}

/** Offset of the index section in a spool object. */
export function indexOffset(footer: Pick<ChunkFooter, 'rows' | 'paramsBytes'>): number {
  return footer.paramsBytes + footer.rows;
}

/**
 * Decodes an index section.
 * @throws {RangeError} when it does not hold `rows` lines whose lengths sum to `paramsBytes` (K2).
 */
export function decodeIndex(section: Uint8Array, rows: number, paramsBytes: number): readonly ChunkRow[] {
  const lines = Buffer.from(section.buffer, section.byteOffset, section.byteLength).toString('utf8').split('\n');
  if (lines.pop() !== '' || lines.length !== rows) throw new RangeError(`index has ${lines.length} lines, expected ${rows}`);
  const decoded = lines.map((line) => JSON.parse(line) as ChunkRow);
  const sum = decoded.reduce((total, row) => total + row.bytes, 0);
  if (sum !== paramsBytes) throw new RangeError(`index covers ${sum} params bytes, expected ${paramsBytes}`);
  return decoded;
}
