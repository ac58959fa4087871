import { EnvelopeReader, type EnvelopeIndex } from './envelope.ts';
import { JsonScanner } from './scanner.ts';

/** What became of a body that was received whole. `message` is what the service says about a bad one. */
export type BodyVerdict =
  | { readonly kind: 'complete'; readonly bytes: number; readonly index: EnvelopeIndex }
  | { readonly kind: 'malformed'; readonly message: string };

/** Judges one create body while it arrives: is it JSON, and is its envelope in order (claude-batches.md 1.4)? */
export class BodyJudge {
  readonly #envelope = new EnvelopeReader();
  readonly #scanner = new JsonScanner(this.#envelope);

  /** Takes in the next bytes. */
  write(chunk: Buffer): void {
    this.#scanner.write(chunk);
  }

  /** The verdict, once all bytes have been taken in. */
  end(): BodyVerdict {
    this.#scanner.end();
    const { fault, bytes } = this.#scanner;
    if (fault !== undefined) {
      return { kind: 'malformed', message: `The request body is not valid JSON: ${fault.what}: line ${fault.line} column ${fault.column} (char ${fault.offset})` };
    }
    const verdict = this.#envelope.verdict();
    return verdict === undefined ? { kind: 'complete', bytes, index: this.#envelope.index() } : { kind: 'malformed', message: verdict };
  }
}
