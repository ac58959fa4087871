/**
 * A chunk's spool object: the prompts of one segment, one client, one run and at most one shared prefix, immutable once written.
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
import { BlockPool, Section } from './block-pool.ts';
import type { ChunkId, Prompt, RunKey, SegmentName, SourceOrigin } from './segment.ts';

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
  /** The object that the row stands in, where the source is made of objects. A retry carries it on with its line. */
  readonly origin?: SourceOrigin;
}

/** The last line of a spool object. */
export interface ChunkFooter {
  readonly v: 1;
  readonly chunk: ChunkId;
  readonly run: RunKey;
  readonly segment: SegmentName;
  readonly client: string;
  /** Digest of the prefix that its prompts share and are marked at. Absent: none, or too few share it; and in retries and replans. */
  readonly prefix?: string;
  /** It holds the first prompt of its prefix alone, and goes ahead of the others (`scripts/prelude/primer.lua`). */
  readonly primes?: true;
  /** 1 for a first submission; each retry adds one. */
  readonly attempt: number;
  /** What the caller named as the source. */
  readonly source: string;
  /** The source row before `firstRow` in the same lane, 0 for the first: a rebuild sees by it that no
   *  chunk is missing in between. It depends on the source alone (K1). Absent in retries. */
  readonly previousRow?: number;
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
  /** The models of its rows, sorted; absent in objects of before they were noted. */
  readonly models?: readonly string[];
}

/** What a chunk is made of before it has rows; all of it as in the footer. */
export interface ChunkHeading {
  readonly run: RunKey;
  readonly segment: SegmentName;
  readonly client: string;
  readonly prefix?: string;
  readonly primes?: true;
  readonly attempt: number;
  readonly source: string;
  readonly previousRow?: number;
}

/** A finished chunk: its bytes in order, its footer, and the digest of the whole object. */
export interface SealedChunk {
  readonly footer: ChunkFooter;
  readonly blocks: readonly Uint8Array[];
  readonly sizeBytes: number;
  /** sha256 of the whole object, hex; made when it is asked for, which a folder does only where the name is taken. */
  readonly sha256: string;
  /** The digest is made of these very blocks, so there is nothing to compare it with. */
  readonly isDigested: true;
}

/** Blocks that have left a chunk before it was sealed. */
export interface SpilledBlocks {
  readonly params: readonly Buffer[];
  readonly index: readonly Buffer[];
  /** Gives their memory back; they must not be read afterwards. */
  release(): void;
}

/** What of a finished chunk was not spilled, section by section, and the size of the whole object. */
export interface ChunkEnd {
  readonly footer: ChunkFooter;
  readonly params: readonly Buffer[];
  readonly index: readonly Buffer[];
  readonly footerLine: Buffer;
  readonly sizeBytes: number;
}

/**
 * Collects the prompts of one chunk in memory. It copies the params: a slice of the reader's block would keep the whole
 * block alive, and a hundred open segments would then keep the whole input.
 */
export class ChunkWriter {
  readonly heading: ChunkHeading;
  readonly #pool: BlockPool;
  readonly #params: Section;
  readonly #index: Section;
  #rows = 0;
  #paramsBytes = 0;
  #tokensExpected = 0;
  #tokensMax = 0;
  #microUsdMax = 0;
  readonly #models = new Set<string>();
  #firstRow = 0;
  #lastRow = 0;

  constructor(heading: ChunkHeading, pool = new BlockPool()) {
    this.heading = heading;
    this.#pool = pool;
    this.#params = new Section(pool);
    this.#index = new Section(pool);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Bytes held in memory. */
  get sizeBytes(): number {
    return this.#params.sizeBytes + this.#index.sizeBytes;
  }

  /** Bytes that `spill` would take out of memory. */
  get spillableBytes(): number {
    return this.#params.fullBytes + this.#index.fullBytes;
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

  /** Adds one prompt as the next row. `paramsSha`: the sha256 of its params, hex, where somebody has made it. */
  add(prompt: Prompt, isGeoPinned: boolean, paramsSha?: string): void {
    const { estimate, source } = prompt;
    this.addRow(prompt.params, {
      id: prompt.id,
      row: source.row,
      at: source.byteOffset,
      bytes: prompt.params.length,
      sha: paramsSha ?? hash('sha256', prompt.params, 'hex'),
      model: prompt.model,
      expect: estimate.inputTokensExpected,
      in: estimate.inputTokensMax,
      out: estimate.outputTokensMax,
      usd: estimate.microUsdMax,
      ...(isGeoPinned ? { geo: 1 as const } : {}),
      ...(prompt.deadlineMs === undefined ? {} : { deadline: prompt.deadlineMs }),
      ...(prompt.metadataJson === undefined ? {} : { metadata: JSON.parse(prompt.metadataJson) as unknown }),
      ...(source.origin === undefined ? {} : { origin: source.origin }),
    });
  }

  /** Adds a row whose index line exists already: a retry carries the original line, never a rebuilt one. */
  addRow(params: Uint8Array, row: ChunkRow): void {
    this.#params.addLine(params);
    this.#index.addText(JSON.stringify(row));
    if (this.#rows === 0) this.#firstRow = row.row;
    this.#lastRow = row.row;
    this.#rows += 1;
    this.#paramsBytes += params.length;
    this.#tokensExpected += row.expect;
    this.#tokensMax += row.in + row.out;
    this.#microUsdMax += row.usd;
    this.#models.add(row.model);
  }

  /** Takes the full blocks out of memory. Whoever takes them must put them in front of what `end` returns. */
  spill(): SpilledBlocks {
    const params = this.#params.takeFull();
    const index = this.#index.takeFull();
    return {
      params,
      index,
      release: () => {
        for (const block of params) this.#pool.give(block);
        for (const block of index) this.#pool.give(block);
      },
    };
  }

  /** Ends the chunk under its id and returns what is in memory of it. The writer must not be added to afterwards. */
  end(chunk: ChunkId): ChunkEnd {
    const footer: ChunkFooter = {
      v: 1,
      chunk,
      ...this.heading,
      rows: this.#rows,
      firstRow: this.#firstRow,
      lastRow: this.#lastRow,
      paramsBytes: this.#paramsBytes,
      indexBytes: this.#index.addedBytes,
      tokensExpected: this.#tokensExpected,
      tokensMax: this.#tokensMax,
      microUsdMax: this.#microUsdMax,
      models: [...this.#models].sort(),
    };
    const footerLine = Buffer.from(`${JSON.stringify(footer)}\n`, 'utf8');
    const sizeBytes = this.#params.addedBytes + this.#index.addedBytes + footerLine.length;
    return { footer, params: this.#params.blocks(), index: this.#index.blocks(), footerLine, sizeBytes };
  }

  /** Ends a chunk of which nothing was spilled and returns its bytes. */
  seal(chunk: ChunkId): SealedChunk {
    const { footer, params, index, footerLine, sizeBytes } = this.end(chunk);
    const blocks = [...params, ...index, footerLine];
    return {
      footer,
      blocks,
      sizeBytes,
      isDigested: true,
      get sha256() {
        return digestOf(blocks);
      },
    };
  }

  /** Gives the memory of the chunk back; its bytes must not be read afterwards. */
  release(): void {
    this.#params.release();
    this.#index.release();
  }
}

function digestOf(blocks: readonly Uint8Array[]): string {
  const digest = createHash('sha256');
  for (const block of blocks) digest.update(block);
  return digest.digest('hex');
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
  const decoded = lines.map((line, index) => rowOf(line, index));
  const sum = decoded.reduce((total, row) => total + row.bytes, 0);
  if (sum !== paramsBytes) throw new RangeError(`index covers ${sum} params bytes, expected ${paramsBytes}`);
  return decoded;
}

function rowOf(line: string, index: number): ChunkRow {
  let row: Partial<ChunkRow> | null | undefined;
  try {
    row = JSON.parse(line) as Partial<ChunkRow> | null;
  } catch {
    // Said below.
  }
  if (typeof row !== 'object' || row === null || !Number.isSafeInteger(row.bytes)) throw new RangeError(`index line ${index + 1} does not describe a row`);
  return row as ChunkRow;
}
