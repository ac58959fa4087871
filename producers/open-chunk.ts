/**
 * A chunk that is still filled. Most of it may have left the memory for a file in the staging folder of the lake; its end
 * then goes to the same file, and the file becomes the spool object without being copied.
 */
import { ChunkWriter, type ChunkFooter, type ChunkHeading } from '../segments/chunk.ts';
import type { BlockPool } from '../segments/block-pool.ts';
import type { ChunkId } from '../segments/segment.ts';
import { SpoolFile } from '../segments/store/spool-file.ts';
import type { Store } from '../segments/store/store.ts';

/** A chunk that nothing is added to any more. */
export interface EndedChunk {
  readonly footer: ChunkFooter;
  /** Makes it durable under its key and gives its memory back; to be called once. @throws what the store raises */
  put(store: Pick<Store, 'put' | 'putFile'>, key: string): Promise<void>;
}

export class OpenChunk {
  readonly writer: ChunkWriter;
  #file: SpoolFile | undefined;
  /** Settles when the spills so far are written; rejects with the first that failed. */
  #spilled: Promise<void> = Promise.resolve();

  constructor(heading: ChunkHeading, pool: BlockPool) {
    this.writer = new ChunkWriter(heading, pool);
  }

  /** Whether a part of it is in a file. */
  get isSpilled(): boolean {
    return this.#file !== undefined;
  }

  /** Takes its full blocks out of memory at once; resolves when they are written. @throws PlimsollError `lake_full`, `lake_unavailable` */
  async spill(stagingDirectory: string): Promise<void> {
    const file = (this.#file ??= new SpoolFile(stagingDirectory));
    const { params, index, release } = this.writer.spill();
    this.#spilled = this.#spilled.then(async () => {
      await file.append(params, index);
      release();
    });
    await this.#spilled;
  }

  /** Ends the chunk under its id. */
  end(id: ChunkId): EndedChunk {
    const { writer } = this;
    const file = this.#file;
    if (file) return this.#endSpilled(id, file);
    const sealed = writer.seal(id);
    return {
      footer: sealed.footer,
      put: async (store, key) => {
        await store.put(key, sealed).finally(() => writer.release());
      },
    };
  }

  /** Removes what of it is in a file, when it will never be put. */
  async discard(): Promise<void> {
    await this.#spilled.catch(() => undefined);
    await this.#file?.discard();
  }

  #endSpilled(id: ChunkId, file: SpoolFile): EndedChunk {
    const { writer } = this;
    const { footer, params, index, footerLine, sizeBytes } = writer.end(id);
    const content = {
      sizeBytes,
      get sha256() {
        return file.digest();
      },
      isDigested: true,
    };
    return {
      footer,
      put: async (store, key) => {
        try {
          await this.#spilled;
          await file.complete(params, index, footerLine);
          await store.putFile(key, file.path, content);
        } finally {
          writer.release();
          // The object has its name by now, or the file is of no use. This must not hide what went wrong before.
          await file.discard().catch(() => undefined);
        }
      },
    };
  }
}
