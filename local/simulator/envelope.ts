import { hash } from 'node:crypto';
import type { ScanListener } from './scanner.ts';

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

const ID_PATTERN = /^[a-zA-Z0-9_-]{1,64}$/;

/** Where the requests of an accepted body lie. Arrays run parallel, in body order. */
export interface EnvelopeIndex {
  readonly customIds: readonly string[];
  /** Offset of each `params` value in the body, bytes. */
  readonly offsets: Float64Array;
  /** Length of each `params` value, bytes. */
  readonly lengths: Uint32Array;
}

export class EnvelopeReader implements ScanListener {
  readonly #customIds: string[] = [];
  readonly #offsets = new Float64Array(REQUESTS_MAX);
  readonly #lengths = new Uint32Array(REQUESTS_MAX);
  #fault: string | undefined;
  #rootKey: string | undefined;
  #entryKey: string | undefined;
  #hasRequests = false;
  #items = 0;
  #customId: string | undefined;
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
    const duplicate = firstDuplicate(this.#customIds);
    return duplicate === undefined ? undefined : `requests: custom_id's must be unique within a batch. Duplicate custom_id found: ${duplicate}`;
  }

  /** The index of a body without fault. */
  index(): EnvelopeIndex {
    return {
      customIds: this.#customIds,
      offsets: this.#offsets.slice(0, this.#items),
      lengths: this.#lengths.slice(0, this.#items),
    };
  }

  key(depth: number, text: string): void {
    if (depth === 1) {
      this.#rootKey = text;
      if (text !== 'requests') {
        this.#blame(`${text}: Extra inputs are not permitted`);
      }
    } else if (depth === 3 && this.#inRequests()) {
      this.#entryKey = text;
      if (text !== 'custom_id' && text !== 'params') {
        this.#blame(`requests.${this.#items}.${text}: Extra inputs are not permitted`);
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

  scalar(depth: number, text: string | undefined): void {
    if (depth === 0) {
      this.#blame('Input should be a valid dictionary or object to extract fields from');
    } else if (depth === 1 && this.#rootKey === 'requests') {
      this.#hasRequests = true;
      this.#blame('requests: Input should be a valid list');
    } else if (depth === 2 && this.#inRequests()) {
      this.#blame(`requests.${this.#items}: Input should be a valid dictionary or object to extract fields from`);
      this.#items += 1;
    } else if (depth === 3 && this.#inRequests()) {
      this.#entryScalar(text);
    }
  }

  #inRequests(): boolean {
    return this.#rootKey === 'requests';
  }

  /** A repeated `requests` key replaces the earlier one, as in every JSON parser. */
  #beginRequests(kind: 'object' | 'array'): void {
    this.#hasRequests = true;
    this.#items = 0;
    this.#customIds.length = 0;
    if (kind !== 'array') {
      this.#blame('requests: Input should be a valid list');
    }
  }

  #beginEntry(kind: 'object' | 'array'): void {
    this.#entryKey = undefined;
    this.#customId = undefined;
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

  #entryScalar(text: string | undefined): void {
    if (this.#entryKey === 'custom_id') {
      this.#hasCustomId = true;
      this.#customId = text;
      if (text === undefined) {
        this.#blame(`requests.${this.#items}.custom_id: Input should be a valid string`);
      } else {
        this.#checkId(text);
      }
    } else if (this.#entryKey === 'params') {
      this.#hasParams = true;
      this.#blame(`requests.${this.#items}.params: Input should be a valid dictionary`);
    }
  }

  #checkId(text: string): void {
    const where = `requests.${this.#items}.custom_id`;
    if (text.length === 0) {
      this.#blame(`${where}: String should have at least 1 character`);
    } else if (text.length > 64) {
      this.#blame(`${where}: String should have at most 64 characters`);
    } else if (!ID_PATTERN.test(text)) {
      this.#blame(`${where}: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'`);
    }
  }

  #endEntry(): void {
    if (!this.#hasCustomId) {
      this.#blame(`requests.${this.#items}.custom_id: Field required`);
    }
    if (!this.#hasParams) {
      this.#blame(`requests.${this.#items}.params: Field required`);
    }
    const id = this.#customId;
    if (this.#fault === undefined && id !== undefined && this.#items < REQUESTS_MAX) {
      this.#customIds.push(id);
      this.#offsets[this.#items] = this.#paramsOffset;
      this.#lengths[this.#items] = this.#paramsLength;
    }
    this.#items += 1;
  }

  #blame(fault: string): void {
    this.#fault ??= fault;
  }
}

function firstDuplicate(ids: readonly string[]): string | undefined {
  if (new Set(ids).size === ids.length) {
    return undefined;
  }
  const seen = new Set<string>();
  return ids.find((id) => seen.size === seen.add(id).size);
}

/** SHA-256 (hex) over the ids in body order, each followed by LF. A test computes the same over `custom_ids.txt` of the batch's folder. */
export function customIdsDigest(customIds: readonly string[]): string {
  return hash('sha256', customIdsText(customIds), 'hex');
}

/** The ids in body order, each followed by LF. */
export function customIdsText(customIds: readonly string[]): string {
  return `${customIds.join('\n')}\n`;
}
