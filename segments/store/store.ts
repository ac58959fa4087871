/**
 * The store port: the lake as the product sees it. Objects are created once and never changed; a second write of equal
 * content succeeds, of other content fails loudly. Adapters: a folder (`folder.ts`) and an S3 bucket (`s3.ts`);
 * one conformance suite runs on both.
 *
 * Invariants
 *   T1  When `put` returns, the object is durable and complete; before that it is not visible under its key.
 *   T2  An object never changes. `put` of equal content answers `same`, of other content throws `lake_conflict`.
 *   T3  A crash leaves at most an invisible temporary file, which the next start removes.
 */

/** What is written: the bytes, in order, and what they must add up to. */
export interface ObjectContent {
  readonly blocks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  readonly sizeBytes: number;
  /** sha256 of the content, hex. */
  readonly sha256: string;
  /** The digest is made of these very bytes when it is asked for, which costs a look at all of them: a store need not
   *  compare them with it, nor ask for it unless it has a use for it. */
  readonly isDigested?: boolean;
}

/** A range of bytes, `end` exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface StoredObject {
  readonly key: string;
  readonly sizeBytes: number;
  /** sha256 of what was to be written under the key, hex, as its writer has said it; undefined: the medium keeps none. */
  readonly sha256?: string;
}

export interface Store {
  /** The lake's own address, `file:///…/lake` or `s3://bucket/prefix`, without a trailing slash. */
  readonly uri: string;
  /** A folder of this machine where a file may grow that {@link putFile} then takes without copying it. What is left there
   *  by a process that died is removed at a later start. Absent where the lake is not on this machine. */
  readonly stagingDirectory?: string;
  /** Creates an object (T1, T2). @throws PlimsollError `lake_conflict`, `lake_full`, `lake_unavailable` */
  put(key: string, content: ObjectContent): Promise<'created' | 'same'>;
  /** Creates an object from a finished local file, without copying where the medium allows. The file may be consumed. */
  putFile(key: string, path: string, content: Omit<ObjectContent, 'blocks'>): Promise<'created' | 'same'>;
  /** Streams an object or a part of it. @throws PlimsollError `lake_missing`, `lake_unavailable` */
  read(key: string, range?: ByteRange): AsyncIterable<Buffer>;
  /** Reads an object or a part of it whole; for small documents and index sections. */
  readWhole(key: string, range?: ByteRange): Promise<Buffer>;
  /** Where the object would lie as a file of this machine, for random access; only of a store that is on this machine.
   *  The file must not be changed. */
  localPath?(key: string): string;
  /** The sha256, hex, with which this very store has taken the object as a file, as long as that file was not touched since;
   *  undefined: it has not (`isDigested`: nobody had made it), or cannot tell. Who has it need not read the object again to compare it. */
  knownSha256?(key: string): Promise<string | undefined>;
  /** The object's size and what its writer has said of it, or undefined when there is none. */
  head(key: string): Promise<StoredObject | undefined>;
  /** Every object whose key starts with `prefix`, in byte order of the keys. */
  list(prefix: string): AsyncIterable<StoredObject>;
  close(): Promise<void>;
}

/** The address of an object, for manifests and people. */
export function urlOf(store: Pick<Store, 'uri'>, key: string): string {
  return `${store.uri}/${key}`;
}
