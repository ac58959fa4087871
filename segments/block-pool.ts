/**
 * Memory for what is collected before it is written: bytes appended to a section stand in blocks of one size, which are
 * used again when the section was written. Fresh memory for every chunk would wait for the garbage collector after the
 * write, and as much of it as the open chunks hold would stand beside them (performance.md, Ingest: 144 segments want
 * small buffers).
 */

/** Small, because each open chunk leaves half a block of each of its sections unused, and there may be hundreds open. */
const blockBytes = 32 * 1024;
const newline = 0x0a;

/** Blocks of one size that are used again and again. */
export class BlockPool {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
  }

  /** Takes back a block that nobody reads any more. */
  give(block: Buffer): void {
    this.#free.push(block);
  }
}

/** Lines that grow at their end. */
export class Section {
  readonly #pool: BlockPool;
  #blocks: Buffer[] = [];
  #tail: Buffer;
  #used = 0;
  #takenBytes = 0;

  constructor(pool: BlockPool) {
    this.#pool = pool;
    this.#tail = pool.take();
  }

  /** Bytes in memory. */
  get sizeBytes(): number {
    return this.fullBytes + this.#used;
  }

  /** Bytes in full blocks, those that {@link takeFull} would take. */
  get fullBytes(): number {
    return this.#blocks.length * blockBytes;
  }

  /** Bytes that were ever added, newlines included. */
  get addedBytes(): number {
    return this.#takenBytes + this.sizeBytes;
  }

  /** Takes the full blocks out of the section, the oldest first; the taker gives them back to the pool. */
  takeFull(): readonly Buffer[] {
    const full = this.#blocks;
    this.#blocks = [];
    this.#takenBytes += full.length * blockBytes;
    return full;
  }

  /** Appends a copy of the bytes and a newline. */
  addLine(bytes: Uint8Array): void {
    this.#add(bytes);
    if (this.#used === blockBytes) this.#turn();
    this.#tail[this.#used] = newline;
    this.#used += 1;
  }

  /** Appends a text and a newline. */
  addText(text: string): void {
    // A UTF-16 unit takes at most three bytes of UTF-8.
    if (this.#used + text.length * 3 > blockBytes) return this.addLine(Buffer.from(text, 'utf8'));
    this.#used += this.#tail.write(text, this.#used, 'utf8');
    this.#tail[this.#used] = newline;
    this.#used += 1;
  }

  /** The bytes in order. They are valid until `release`. */
  blocks(): readonly Buffer[] {
    return [...this.#blocks, this.#tail.subarray(0, this.#used)];
  }

  /** Gives the memory back; the section must not be used afterwards. */
  release(): void {
    for (const block of this.#blocks) this.#pool.give(block);
    this.#pool.give(this.#tail);
    this.#blocks = [];
  }

  #add(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      if (this.#used === blockBytes) this.#turn();
      const size = Math.min(bytes.length - from, blockBytes - this.#used);
      this.#tail.set(size === bytes.length ? bytes : bytes.subarray(from, from + size), this.#used);
      this.#used += size;
      from += size;
    }
  }

  #turn(): void {
    this.#blocks.push(this.#tail);
    this.#tail = this.#pool.take();
    this.#used = 0;
  }
}
