import { CustomIds, idFault } from './customids.ts';
import type { ScanListener } from './scanlistener.ts';
import type { HeardString } from './stringcapture.ts';

/**
 * The checks the service makes before it accepts a batch: the envelope `{"requests":[{"custom_id","params"},…]}` and nothing inside `params`
 * (claude-batches.md 1.4). It listens to the scanner and keeps, per request, where its `params` lie in the body.
 *
 * Invariants
 *   E1  `params` are never looked into: an entry with nonsense in `params` is accepted and fails later, in its own row.
 *   E2  Faults are reported in the order of the document, one at a time; duplicates only when every entry is well formed.
 *   E3  Memory is O(requests), at most 100,000 of them: an id, an offset and a length each.
 */

/** The most requests one batch can have (claude-batches.md 1.2). */
export const REQUESTS_MAX = 100_000;

const CUSTOM_ID = Buffer.from('custom_id');
const PARAMS = Buffer.from('params');

/** Where the requests of an accepted body lie. Arrays run parallel, in body order. */
export interface EnvelopeIndex {
  readonly requests: number;
  /** The custom_ids in body order, each followed by LF. */
  readonly customIds: Uint8Array;
  /** SHA-256 of `customIds`, hex. */
  readonly customIdsSha256: string;
  /** Offset of each `params` value in the body, bytes. */
  readonly offsets: Float64Array;
  /** Length of each `params` value, bytes. */
  readonly lengths: Uint32Array;
}

export class EnvelopeReader implements ScanListener {
  readonly #customIds = new CustomIds();
  readonly #offsets = new Float64Array(REQUESTS_MAX);
  readonly #lengths = new Uint32Array(REQUESTS_MAX);
  #fault: string | undefined;
  #rootKey: string | undefined;
  #entryKey: 'custom_id' | 'params' | undefined;
  #hasRequests = false;
  #items = 0;
  /** The id of the present entry, of this many bytes; none before it was seen. */
  readonly #id = new Uint8Array(64);
  #idLength = 0;
  #hasCustomId = false;
  #hasParams = false;
  #paramsOffset = 0;
  #paramsLength = 0;

  /** What is wrong with the envelope, as the service says it, or undefined. To be asked after the last byte. */
  verdict(): string | undefined {
    if (this.#fault !== undefined) {
      return this.#fault;
    }
    if (!this.#hasRequests) {
      return 'requests: Field required';
    }
    if (this.#items === 0) {
      return 'requests: List should have at least 1 item after validation, not 0';
    }
    if (this.#items > REQUESTS_MAX) {
      return `requests: List should have at most ${REQUESTS_MAX} items after validation, not ${this.#items}`;
    }
    const duplicate = this.#customIds.repeated;
    return duplicate === undefined ? undefined : `requests: custom_id's must be unique within a batch. Duplicate custom_id found: ${duplicate}`;
  }

  /** The index of a body without fault. */
  index(): EnvelopeIndex {
    return {
      requests: this.#items,
      customIds: this.#customIds.text(),
      customIdsSha256: this.#customIds.digest(),
      offsets: this.#offsets.slice(0, this.#items),
      lengths: this.#lengths.slice(0, this.#items),
    };
  }

  key(depth: number, name: HeardString): void {
    if (depth === 1) {
      this.#rootKey = name.text();
      if (this.#rootKey !== 'requests') {
        this.#blame(`${this.#rootKey}: Extra inputs are not permitted`);
      }
    } else if (depth === 3 && this.#inRequests()) {
      this.#entryKey = name.is(CUSTOM_ID) ? 'custom_id' : name.is(PARAMS) ? 'params' : undefined;
      if (this.#entryKey === undefined) {
        this.#blame(`requests.${this.#items}.${name.text()}: Extra inputs are not permitted`);
      }
    }
  }

  open(depth: number, kind: 'object' | 'array', offset: number): void {
    if (depth === 0 && kind !== 'object') {
      this.#blame('Input should be a valid dictionary or object to extract fields from');
    } else if (depth === 1 && this.#rootKey === 'requests') {
      this.#beginRequests(kind);
    } else if (depth === 2 && this.#inRequests()) {
      this.#beginEntry(kind);
    } else if (depth === 3 && this.#inRequests()) {
      this.#beginEntryValue(kind, offset);
    }
  }

  close(depth: number, offset: number): void {
    if (!this.#inRequests()) {
      return;
    }
    if (depth === 2) {
      this.#endEntry();
    } else if (depth === 3 && this.#entryKey === 'params') {
      this.#paramsLength = offset - this.#paramsOffset;
    }
  }

  scalar(depth: number, string: HeardString | undefined): void {
    if (depth === 0) {
      this.#blame('Input should be a valid dictionary or object to extract fields from');
    } else if (depth === 1 && this.#rootKey === 'requests') {
      this.#hasRequests = true;
      this.#blame('requests: Input should be a valid list');
    } else if (depth === 2 && this.#inRequests()) {
      this.#blame(`requests.${this.#items}: Input should be a valid dictionary or object to extract fields from`);
      this.#items += 1;
    } else if (depth === 3 && this.#inRequests()) {
      this.#entryScalar(string);
    }
  }

  #inRequests(): boolean {
    return this.#rootKey === 'requests';
  }

  /** A repeated `requests` key replaces the earlier one, as in every JSON parser. */
  #beginRequests(kind: 'object' | 'array'): void {
    this.#hasRequests = true;
    this.#items = 0;
    this.#customIds.clear();
    if (kind !== 'array') {
      this.#blame('requests: Input should be a valid list');
    }
  }

  #beginEntry(kind: 'object' | 'array'): void {
    this.#entryKey = undefined;
    this.#idLength = 0;
    this.#hasCustomId = false;
    this.#hasParams = false;
    if (kind !== 'object') {
      this.#blame(`requests.${this.#items}: Input should be a valid dictionary or object to extract fields from`);
    }
  }

  #beginEntryValue(kind: 'object' | 'array', offset: number): void {
    if (this.#entryKey === 'custom_id') {
      this.#hasCustomId = true;
      this.#blame(`requests.${this.#items}.custom_id: Input should be a valid string`);
    } else if (this.#entryKey === 'params') {
      this.#hasParams = true;
      this.#paramsOffset = offset;
      if (kind !== 'object') {
        this.#blame(`requests.${this.#items}.params: Input should be a valid dictionary`);
      }
    }
  }

  #entryScalar(string: HeardString | undefined): void {
    if (this.#entryKey === 'custom_id') {
      this.#hasCustomId = true;
      const fault = string === undefined ? 'Input should be a valid string' : idFault(string.bytes, string.start, string.end);
      if (fault !== undefined) {
        this.#blame(`requests.${this.#items}.custom_id: ${fault}`);
      } else if (string !== undefined) {
        this.#keepId(string);
      }
    } else if (this.#entryKey === 'params') {
      this.#hasParams = true;
      this.#blame(`requests.${this.#items}.params: Input should be a valid dictionary`);
    }
  }

  /** The last one of an entry counts, as in every JSON parser. */
  #keepId({ bytes, start, end }: HeardString): void {
    this.#idLength = end - start;
    for (let index = start; index < end; index += 1) {
      this.#id[index - start] = bytes[index] ?? 0;
    }
  }

  #endEntry(): void {
    if (!this.#hasCustomId) {
      this.#blame(`requests.${this.#items}.custom_id: Field required`);
    }
    if (!this.#hasParams) {
      this.#blame(`requests.${this.#items}.params: Field required`);
    }
    if (this.#fault === undefined && this.#items < REQUESTS_MAX) {
      this.#customIds.add(this.#id, 0, this.#idLength);
      this.#offsets[this.#items] = this.#paramsOffset;
      this.#lengths[this.#items] = this.#paramsLength;
    }
    this.#items += 1;
  }

  #blame(fault: string): void {
    this.#fault ??= fault;
  }
}
