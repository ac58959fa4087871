/**
 * Which rows of the spool are taken and which are free. One object covers a stretch of the rows of its lane (segment, client and
 * shared prefix) without a hole; two objects of one lane may cover the same rows, and then rows are told apart by their line
 * in the source.
 */
import type { ChunkFooter } from './chunk.ts';
import type { SealedChunkRange } from './journal.ts';
import { isReplanned, laneOf, roundOf } from './segment.ts';

/** A spool object. `rowsOf`: source lines by index, needed where the object overlaps another one. */
export interface SpooledObject {
  readonly key: string;
  readonly footer: ChunkFooter;
  readonly sourceRows?: readonly number[];
}

/** A stretch of an object that is in no archive; both ends inclusive. */
export interface FreeRange {
  readonly object: SpooledObject;
  readonly from: number;
  readonly to: number;
}

/** Keys of the objects that share source rows with another one of their lane. */
export function overlappingKeys(footers: readonly { readonly key: string; readonly footer: ChunkFooter }[]): ReadonlySet<string> {
  const found = new Set<string>();
  for (const objects of lanesOf(footers.filter(({ footer }) => isOfSource(footer))).values()) {
    let reach: (typeof objects)[number] | undefined;
    for (const object of objects) {
      if (reach && object.footer.firstRow <= reach.footer.lastRow) found.add(reach.key).add(object.key);
      if (!reach || object.footer.lastRow > reach.footer.lastRow) reach = object;
    }
  }
  return found;
}

export class Cover {
  readonly #objects = new Map<string, SpooledObject>();
  readonly #lanes: ReadonlyMap<string, readonly SpooledObject[]>;
  /** By spool key: which rows of the object are in an archive or given out. */
  readonly #taken = new Map<string, Uint8Array>();
  /** By lane: source lines that are taken, of objects that overlap others. */
  readonly #takenLines = new Map<string, Set<number>>();
  /** By lane: the last line of an object that an archive references, so it was registered. */
  readonly #registered = new Map<string, number>();

  constructor(spool: readonly SpooledObject[]) {
    for (const object of spool) this.#objects.set(object.key, object);
    this.#lanes = lanesOf(spool.filter(({ footer }) => isOfSource(footer)));
  }

  footerOf(key: string): ChunkFooter | undefined {
    return this.#objects.get(key)?.footer;
  }

  /** Takes the rows of an archive; false, and nothing is taken, when one of them is taken already. */
  take(ranges: readonly Pick<SealedChunkRange, 'spoolKey' | 'spoolRows' | 'from' | 'to'>[]): boolean {
    const isFree = ranges.every((range) => {
      const taken = this.#takenOf(range.spoolKey, range.spoolRows);
      const lines = this.#linesOf(range.spoolKey);
      for (let index = range.from; index <= range.to; index += 1) {
        const line = lines?.rows[index];
        if (taken[index] === 1 || (line !== undefined && lines?.taken.has(line))) return false;
      }
      return true;
    });
    if (!isFree) return false;
    for (const range of ranges) this.#mark(range.spoolKey, range.spoolRows, range.from, range.to, true);
    return true;
  }

  /**
   * Gives out what is free, in the order of the source, each row once. Of a run that was not read to its end only what
   * certainly has no gap before it: the rest comes again. `isWanted` leaves objects out.
   */
  free(isIngested: boolean, isWanted: (footer: ChunkFooter) => boolean): readonly FreeRange[] {
    const high = this.highWater();
    const objects = [...this.#objects.values()].filter(({ footer }) => isWanted(footer)).sort((a, b) => a.footer.attempt - b.footer.attempt || a.footer.firstRow - b.footer.firstRow || b.footer.lastRow - a.footer.lastRow || (a.key < b.key ? -1 : 1));
    const found: FreeRange[] = [];
    for (const object of objects) {
      const { footer, key } = object;
      const isBehindGap = isOfSource(footer) && !isIngested && footer.lastRow > (high.get(laneOf(footer)) ?? 0);
      if (isBehindGap) continue;
      for (const [from, to] of this.#freeOf(object)) {
        this.#mark(key, footer.rows, from, to, false);
        found.push({ object, from, to });
      }
    }
    return found;
  }

  /** Last line of each lane up to which no row can be missing. */
  highWater(): ReadonlyMap<string, number> {
    const high = new Map<string, number>();
    for (const [lane, objects] of this.#lanes) {
      let reached = this.#registered.get(lane) ?? 0;
      for (const { footer } of objects) {
        const joinsUp = (footer.previousRow ?? footer.firstRow - 1) <= reached;
        if (joinsUp && footer.lastRow > reached) reached = footer.lastRow;
      }
      if (reached > 0) high.set(lane, reached);
    }
    return high;
  }

  /** Rows that a producer spooled and that are in archives or were given out. Call it after `free`. */
  acknowledgedRows(): number {
    let rows = 0;
    for (const [key, taken] of this.#taken) {
      const footer = this.#objects.get(key)?.footer;
      if (footer && isOfSource(footer)) for (const each of taken) rows += each;
    }
    return rows;
  }

  #freeOf({ key, footer }: SpooledObject): readonly (readonly [number, number])[] {
    const taken = this.#takenOf(key, footer.rows);
    const lines = this.#linesOf(key);
    const ranges: [number, number][] = [];
    for (let index = 0; index < footer.rows; index += 1) {
      const line = lines?.rows[index];
      if (taken[index] === 1 || (line !== undefined && lines?.taken.has(line))) continue;
      const last = ranges.at(-1);
      if (last && last[1] === index - 1) last[1] = index;
      else ranges.push([index, index]);
    }
    return ranges;
  }

  #mark(key: string, rows: number, from: number, to: number, isRegistered: boolean): void {
    this.#takenOf(key, rows).fill(1, from, to + 1);
    const lines = this.#linesOf(key);
    for (let index = from; lines && index <= to; index += 1) {
      const line = lines.rows[index];
      if (line !== undefined) lines.taken.add(line);
    }
    const footer = this.#objects.get(key)?.footer;
    // A retry has no prefix, so its lane may be another one than that of its rows.
    if (!footer || !isRegistered || !isOfSource(footer)) return;
    const lane = laneOf(footer);
    this.#registered.set(lane, Math.max(this.#registered.get(lane) ?? 0, footer.lastRow));
  }

  #takenOf(key: string, rows: number): Uint8Array {
    const known = this.#taken.get(key);
    if (known) return known;
    const made = new Uint8Array(rows);
    this.#taken.set(key, made);
    return made;
  }

  #linesOf(key: string): { readonly rows: readonly number[]; readonly taken: Set<number> } | undefined {
    const object = this.#objects.get(key);
    if (!object?.sourceRows) return undefined;
    const lane = laneOf(object.footer);
    const taken = this.#takenLines.get(lane) ?? new Set<number>();
    this.#takenLines.set(lane, taken);
    return { rows: object.sourceRows, taken };
  }
}

/**
 * Whether a producer made the object from its source: retries, rounds for a fault of the account and replans carry on rows
 * that it has spooled before.
 */
export function isOfSource({ attempt, chunk }: Pick<ChunkFooter, 'attempt' | 'chunk'>): boolean {
  return attempt === 1 && !isReplanned(chunk) && roundOf(chunk) === 0;
}

function lanesOf<Object extends { readonly footer: ChunkFooter }>(objects: readonly Object[]): ReadonlyMap<string, readonly Object[]> {
  const lanes = new Map<string, Object[]>();
  for (const object of objects) {
    const lane = laneOf(object.footer);
    const known = lanes.get(lane);
    if (known) known.push(object);
    else lanes.set(lane, [object]);
  }
  for (const lane of lanes.values()) lane.sort((a, b) => a.footer.firstRow - b.footer.firstRow || a.footer.lastRow - b.footer.lastRow);
  return lanes;
}
