/** The part of archiver 8 that is used here; the package itself has no types. */
declare module 'archiver' {
  import type { Readable } from 'node:stream';

  export class ZipArchive extends Readable {
    constructor(options: { readonly zlib: { readonly level: number }; readonly forceZip64: boolean });
    append(source: Readable, entry: { readonly name: string; readonly date: Date; readonly mode: number }): this;
    finalize(): Promise<void>;
    abort(): this;
  }
}
