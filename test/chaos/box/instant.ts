/**
 * Makes what a stage waits for on a real machine happen at once while a seed is played: small files, compression, the next
 * turn of the event loop. So between two port calls nothing but code runs, a schedule depends on its seed alone, and a
 * seed costs no waiting. Load this before the product: the product binds these functions when it is loaded.
 *
 * Invariants
 *   Q1  Outside of {@link playInstantly} every function is the one of the runtime.
 *   Q2  A large block is lent once in a seed and comes back when the seed is over: then nobody is left who could hold it.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';

const load = createRequire(import.meta.url);
const fs = load('node:fs') as typeof import('node:fs');
const files = load('node:fs/promises') as typeof import('node:fs/promises');
const zlib = load('node:zlib') as typeof import('node:zlib');

let isPlaying = false;

/** The part of a file handle that the stages use. */
class InstantFile {
  readonly fd: number;

  constructor(path: string, flags: string) {
    this.fd = fs.openSync(path, flags);
  }

  async write(bytes: Uint8Array, from = 0): Promise<{ bytesWritten: number }> {
    return { bytesWritten: fs.writeSync(this.fd, bytes, from) };
  }

  /** Nobody takes the power from a schedule of this tier. */
  async datasync(): Promise<void> {}

  async close(): Promise<void> {
    fs.closeSync(this.fd);
  }
}

/** Replaces an asynchronous function by its synchronous twin for as long as a seed is played. */
function whilePlaying<Args extends readonly unknown[], Result>(real: (...args: Args) => Result, instant: (...args: Args) => Result): (...args: Args) => Result {
  return (...args) => (isPlaying ? instant(...args) : real(...args));
}

type Loose = Record<string, (...args: never[]) => unknown>;
const looseFiles = files as unknown as Loose;
const looseZlib = zlib as unknown as Loose;
const replace = (module: Loose, name: string, instant: (...args: never[]) => unknown): void => {
  const real = module[name];
  if (!real) throw new RangeError(`no function is named ${name}`);
  module[name] = whilePlaying(real, instant);
};
replace(looseFiles, 'open', async (path: string, flags: string) => new InstantFile(path, flags));
replace(looseFiles, 'mkdir', async (path: string, options: object) => fs.mkdirSync(path, options));
replace(looseFiles, 'mkdtemp', async (prefix: string) => fs.mkdtempSync(prefix));
replace(looseFiles, 'rm', async (path: string, options: object) => fs.rmSync(path, options));
// The memory that large blocks need would cost more than the few rows of a schedule.
const deflate = zlib.deflateRawSync;
replace(looseZlib, 'deflateRawSync', (bytes: Buffer, options: object) => deflate(bytes, { ...options, memLevel: 1, windowBits: 9, chunkSize: 16_384 }));
replace(fs as unknown as Loose, 'createReadStream', async function* (path: string) {
  yield fs.readFileSync(path);
});
syncBuiltinESMExports();

/** Blocks from this size on are lent; bytes. The few rows of a schedule fill none of them, and to make one of a megabyte
 *  for each body, download and file costs more than all that is done with it. */
const lentBytesMin = 128 * 1024;

/** Large blocks of memory by size, lent for one seed (Q2). What is in them is not told: their takers ask for no zeros. */
class Lender<Block> {
  readonly #make: (sizeBytes: number) => Block;
  readonly #free = new Map<number, Block[]>();
  #lent: { readonly sizeBytes: number; readonly block: Block }[] = [];

  constructor(make: (sizeBytes: number) => Block) {
    this.#make = make;
  }

  lend(sizeBytes: number): Block {
    if (!isPlaying || sizeBytes < lentBytesMin) return this.#make(sizeBytes);
    const block = this.#free.get(sizeBytes)?.pop() ?? this.#make(sizeBytes);
    this.#lent.push({ sizeBytes, block });
    return block;
  }

  takeBack(): void {
    for (const { sizeBytes, block } of this.#lent) this.#free.set(sizeBytes, [...(this.#free.get(sizeBytes) ?? []), block]);
    this.#lent = [];
  }
}

const realBlock = Buffer.allocUnsafeSlow.bind(Buffer);
const blocks = new Lender(realBlock);
Buffer.allocUnsafeSlow = (sizeBytes) => blocks.lend(sizeBytes);
const RealShared = globalThis.SharedArrayBuffer;
const sharedBlocks = new Lender((sizeBytes) => new RealShared(sizeBytes));
globalThis.SharedArrayBuffer = new Proxy(RealShared, { construct: (_real, [sizeBytes]: [number]) => sharedBlocks.lend(sizeBytes) });

const realImmediate = globalThis.setImmediate;

/** Resolves in the next turn of the real event loop: by then everything that waits for nothing else has run. */
export async function realTurn(): Promise<void> {
  await new Promise<void>((resolve) => void realImmediate(resolve));
}

/** What stands in for the intervals of the product. */
export interface VirtualIntervals {
  start(act: () => void, everyMs: number): object;
  stop(interval: object): boolean;
}

/** Runs `play` with instant files and the given intervals. */
export async function playInstantly<Result>(intervals: VirtualIntervals, play: () => Promise<Result>): Promise<Result> {
  const { setInterval: realInterval, clearInterval: realClear } = globalThis;
  const loose = globalThis as unknown as Record<string, unknown>;
  isPlaying = true;
  loose['setInterval'] = (act: () => void, everyMs: number) => intervals.start(act, everyMs);
  loose['clearInterval'] = (interval: object | undefined) => {
    if (interval !== undefined && !intervals.stop(interval)) realClear(interval as NodeJS.Timeout);
  };
  loose['setImmediate'] = (act: (...args: readonly unknown[]) => void, ...args: readonly unknown[]) => queueMicrotask(() => act(...args));
  try {
    return await play();
  } finally {
    isPlaying = false;
    blocks.takeBack();
    sharedBlocks.takeBack();
    loose['setInterval'] = realInterval;
    loose['clearInterval'] = realClear;
    loose['setImmediate'] = realImmediate;
  }
}
