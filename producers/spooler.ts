/**
 * Gathers prompts into chunks, one open chunk per lane (segment, client and shared prefix), and makes them durable: the spool object first,
 * then the ledger, then the wake-up. What is in the ledger is acknowledged; what is only in the lake is not.
 *
 * It owns the open chunks and the writes under way. The reader of the source waits for `room()` and so never runs ahead
 * of the lake; whoever calls `add` owns the order of the rows.
 *
 * Invariants
 *   P1  A chunk is added to the ledger only after its spool object is durable, and chunks are added in the order in
 *       which they were sealed, so the rows of a lane become durable in order.
 *   P2  The checkpoint that goes with a chunk covers every row of it: it is the reader's position when it was sealed, and
 *       the reader may be ahead by what is being judged.
 *   P3  Nothing is added before the gate is open: a resumed run first proves that its source is the same one.
 *   P4  Rows at or below the high water of their lane are durable already and are dropped.
 *   P5  Open chunks hold at most `openBytesMax` of memory together, plus one row; beyond that the largest goes on in a file
 *       of the staging folder, or is sealed where there is none. At most `putsMax` spool objects and parts of open chunks
 *       (`flushPutsMax` when all are sealed), `addsMax` additions to the ledger and `wakesMax` wake-ups are on their way.
 *   P6  When `settle` returns, no file of an open chunk is left.
 */
import { BlockPool } from '../segments/block-pool.ts';
import { PlimsollError } from '../segments/errors.ts';
import { spoolKey } from '../segments/lake.ts';
import { chunkId, laneOf } from '../segments/segment.ts';
import type { ChunkFooter } from '../segments/chunk.ts';
import type { Checkpoint, Ledger } from '../segments/ledger/ledger.ts';
import type { Prompt, RunKey, SegmentName } from '../segments/segment.ts';
import type { Store } from '../segments/store/store.ts';
import type { Wake } from '../segments/wake.ts';
import { OpenChunk } from './open-chunk.ts';
import type { EndedChunk } from './open-chunk.ts';

/** Two keep the disk busy while a third is hashed; more only hold memory. */
const putsMax = 4;
/** When everything is sealed nobody reads on, and what is written lies in memory already: each object waits for the disk
 *  several times, and the waits of many take hardly longer than those of one. */
const flushPutsMax = 32;
/** Chunks on their way into the ledger: with its log flushed at every write, sixteen cost hardly more than one. */
const addsMax = 16;
/** Open chunks that are partly in files, of two descriptors each at most; more are sealed small, as without a folder. */
const filesMax = 256;
/** Wake-ups on their way to the queues. */
const wakesMax = 64;

export interface SpoolerSettings {
  readonly run: RunKey;
  readonly tag: string;
  /** What the run was opened with as its source; a resumed run keeps it, whatever the file is called now (K1). */
  readonly source: string;
  readonly chunkBytesMax: number;
  readonly chunkRowsMax: number;
  readonly openBytesMax: number;
  readonly isReleased: boolean;
  /** Whether the first prompt of a shared prefix makes a chunk of its own, which goes ahead of the others. */
  readonly isPriming: boolean;
  readonly highWater: ReadonlyMap<string, number>;
  readonly ledger: Pick<Ledger, 'addChunk'>;
  readonly store: Pick<Store, 'put' | 'putFile' | 'stagingDirectory'>;
  readonly wake: Pick<Wake, 'enqueueChunk'>;
  readonly now: () => number;
  /** Where the reader stands; asked for when a chunk is sealed (P2). */
  readonly position: () => Checkpoint;
  /** Resolves when chunks may be added to the ledger, rejects when they must not (P3). */
  readonly gate: Promise<void>;
}

export class Spooler {
  readonly #settings: SpoolerSettings;
  readonly #open = new Map<string, OpenChunk>();
  readonly #blocks = new BlockPool();
  readonly #durableRows: Map<string, number>;
  /** The same without what is on its way. */
  readonly #acknowledgedRows: Map<string, number>;
  /** Last row that stands in a sealed chunk, by lane. */
  readonly #sealedRows: Map<string, number>;
  /** Bytes of the open chunks that are in memory. */
  #openBytes = 0;
  /** Open chunks that are partly in files. */
  #files = 0;
  #puts = 0;
  #added = 0;
  #chain: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;
  #roomWaiters: (() => void)[] = [];
  readonly #adds = new Set<Promise<void>>();
  readonly #wakes = new Set<Promise<void>>();
  readonly #spills = new Set<Promise<void>>();

  constructor(settings: SpoolerSettings) {
    this.#settings = settings;
    this.#durableRows = new Map(settings.highWater);
    this.#acknowledgedRows = new Map(settings.highWater);
    this.#sealedRows = new Map(settings.highWater);
  }

  /** Chunks that this spooler has added to the ledger. */
  get added(): number {
    return this.#added;
  }

  /** The last row of each lane that is in the ledger, once `flush` has returned. */
  get durableRows(): ReadonlyMap<string, number> {
    return this.#durableRows;
  }

  /** Whether the reader has to wait for `room()` before it adds more. */
  get isFull(): boolean {
    return this.#puts >= putsMax || this.#failure !== undefined;
  }

  /** Adds a prompt to the open chunk of its lane, and seals what is full. `paramsSha` as in `ChunkWriter.add`. */
  add(prompt: Prompt, segment: SegmentName, isGeoPinned: boolean, paramsSha?: string): void {
    const { client, prefix } = prompt;
    const key = laneOf({ segment, client, prefix });
    if (prompt.source.row <= (this.#settings.highWater.get(key) ?? 0)) return;
    let chunk = this.#open.get(key);
    if (!chunk) {
      const { run, source, isPriming } = this.#settings;
      const previousRow = this.#sealedRows.get(key) ?? 0;
      // Once in a run: the sections that follow find the cache written, or are too far behind for a run's first prompt to help.
      const primes = prefix !== undefined && isPriming && previousRow === 0;
      chunk = new OpenChunk({ run, segment, client, ...(prefix === undefined ? {} : { prefix }), ...(primes ? { primes: true as const } : {}), attempt: 1, source, previousRow }, this.#blocks);
      this.#open.set(key, chunk);
    }
    const { writer } = chunk;
    const before = writer.sizeBytes;
    writer.add(prompt, isGeoPinned, paramsSha);
    this.#openBytes += writer.sizeBytes - before;
    const { chunkBytesMax, chunkRowsMax, openBytesMax } = this.#settings;
    if (writer.heading.primes === true || writer.paramsBytes >= chunkBytesMax || writer.rows >= chunkRowsMax) this.#seal(key, chunk);
    else if (this.#openBytes > openBytesMax) this.#relieve();
  }

  /** Resolves when fewer than `putsMax` objects are on their way (P5). @throws whatever a write failed with */
  async room(): Promise<void> {
    await this.#roomBelow(putsMax);
  }

  /** Seals every open chunk and resolves when all of them are in the ledger. @throws whatever a write failed with */
  async flush(): Promise<void> {
    // By first row, so that the order does not depend on when the segments were first met.
    const chunks = [...this.#open].sort(([, a], [, b]) => a.writer.firstRow - b.writer.firstRow);
    for (const [key, chunk] of chunks) {
      await this.#roomBelow(flushPutsMax);
      this.#seal(key, chunk);
    }
    await this.settle();
    if (this.#failure) throw this.#failure.error;
  }

  /** Resolves when nothing is under way any more, whatever became of it. What is still open is given up (P6). */
  async settle(): Promise<void> {
    await this.#chain;
    await Promise.all(this.#adds);
    await Promise.all(this.#wakes);
    await Promise.all(this.#spills);
    for (const chunk of this.#open.values()) await chunk.discard();
  }

  async #roomBelow(max: number): Promise<void> {
    while (this.#puts >= max && !this.#failure) await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
    if (this.#failure) throw this.#failure.error;
  }

  /** Frees memory: of the open chunk that holds most, what can go to its file, or all of it (P5). */
  #relieve(): void {
    let largest: readonly [string, OpenChunk] | undefined;
    for (const entry of this.#open) if (!largest || entry[1].writer.sizeBytes > largest[1].writer.sizeBytes) largest = entry;
    if (!largest) return;
    const [key, chunk] = largest;
    const { writer, isSpilled } = chunk;
    const { stagingDirectory } = this.#settings.store;
    const mayGrow = stagingDirectory !== undefined && (isSpilled || this.#files < filesMax);
    if (mayGrow && writer.spillableBytes * 2 >= writer.sizeBytes) this.#spill(chunk, stagingDirectory);
    else this.#seal(key, chunk);
  }

  #spill(chunk: OpenChunk, stagingDirectory: string): void {
    if (!chunk.isSpilled) this.#files += 1;
    this.#openBytes -= chunk.writer.spillableBytes;
    this.#puts += 1;
    const spilling = chunk
      .spill(stagingDirectory)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#puts -= 1;
        this.#spills.delete(spilling);
        this.#wakeWaiters();
      });
    this.#spills.add(spilling);
  }

  #seal(key: string, chunk: OpenChunk): void {
    const { writer, isSpilled } = chunk;
    this.#open.delete(key);
    this.#openBytes -= writer.sizeBytes;
    if (isSpilled) this.#files -= 1;
    this.#sealedRows.set(key, writer.lastRow);
    const { tag, run, position } = this.#settings;
    const id = chunkId(tag, writer.heading.segment, writer.firstRow, writer.lastRow);
    const ended = chunk.end(id);
    const { footer } = ended;
    const checkpoint = position();
    const stored = this.#store(spoolKey(run, id), ended);
    this.#chain = this.#chain.then(async () => {
      try {
        await stored;
        if (this.#failure) return;
        await this.#settings.gate;
        if (this.#adds.size >= addsMax) await Promise.race(this.#adds);
        if (this.#wakes.size >= wakesMax) await Promise.race(this.#wakes);
        if (this.#failure) return;
        // The call leaves now, in order; its answer is not waited for, so that the next chunks share Redis' flush to disk.
        const adding = this.#add(key, footer, checkpoint)
          .catch((error: unknown) => this.#fail(error))
          .finally(() => this.#adds.delete(adding));
        this.#adds.add(adding);
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  /** Writes a spool object. It never rejects: the first failure is kept, and nothing is added after it. */
  async #store(key: string, chunk: EndedChunk): Promise<void> {
    this.#puts += 1;
    try {
      await chunk.put(this.#settings.store, key);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#puts -= 1;
      this.#wakeWaiters();
    }
  }

  async #add(key: string, footer: ChunkFooter, checkpoint: Checkpoint): Promise<void> {
    const { ledger, wake, run, isReleased, now } = this.#settings;
    const previousRow = this.#durableRows.get(key) ?? 0;
    // Taken for granted by the next chunk of the same rows: when this one fails, the ledger refuses that one as well.
    this.#durableRows.set(key, footer.lastRow);
    const add = async () => await ledger.addChunk({ footer, spoolKey: spoolKey(run, footer.chunk), previousRow, acknowledgedRow: this.#acknowledgedRows.get(key) ?? 0, checkpoint, isReleased, nowMs: now() });
    let reply = await add();
    // It left before the chunks ahead of it were answered. By now they are, and a ledger that has forgotten them can be told from a second producer.
    if (reply.kind === 'stale') reply = await add();
    if (reply.kind === 'canceled') {
      throw new PlimsollError('run_canceled', { message: `the run ${run} was canceled while its source was read`, where: run, hint: 'What was read before is accounted for in its manifest. Use another run key to begin again.' });
    }
    if (reply.kind === 'stale') {
      throw new PlimsollError('run_busy', {
        message: `another producer is ingesting the run ${run}: its rows went on while this one worked`,
        where: footer.chunk,
        hint: 'Let the other one finish; the same command then reports what it did.',
      });
    }
    this.#acknowledgedRows.set(key, footer.lastRow);
    this.#added += 1;
    // Nobody waits for a wake-up but the end of the ingest: what is queued stands in the ledger already.
    if (reply.kind !== 'added' || !isReleased) return;
    const waking = wake
      .enqueueChunk(footer.segment, footer.chunk, reply.epoch)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => this.#wakes.delete(waking));
    this.#wakes.add(waking);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wakeWaiters();
  }

  #wakeWaiters(): void {
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    for (const resume of waiters) resume();
  }
}
