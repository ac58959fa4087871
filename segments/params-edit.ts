/**
 * Other parameters in the same request: the values of `model` and `max_tokens` are replaced where they stand, and every
 * other byte stays as the user wrote it. Keys of these names that stand deeper down (in a tool's schema, in a text) are
 * never touched, because the structure is walked and not searched.
 */
import { invariant } from './errors.ts';
import { JsonScanner } from './json-scan.ts';

const keyNames = ['model', 'max_tokens'] as const;
const scanner = new JsonScanner(keyNames);

/** What is put in the place of a value; what is not given stays. */
export interface ParamsEdit {
  readonly model?: string | undefined;
  readonly maxTokens?: number | undefined;
}

/**
 * Replaces values of a request. `params` is a JSON object that was accepted before, and the byte after it is a newline, as
 * in a spool object. Returns `params` itself where nothing changes, else new bytes.
 * @throws InvariantBroken when it is no object or lacks a key that is to be replaced: it was never accepted then
 */
export function editParams(params: Buffer, edit: ParamsEdit): Buffer {
  const texts = [edit.model === undefined ? undefined : JSON.stringify(edit.model), edit.maxTokens === undefined ? undefined : String(edit.maxTokens)];
  const pieces: Buffer[] = [];
  let copied = 0;
  let replaced = 0;
  scanner.start(params, 0, params.length);
  invariant(scanner.entersObject(), 'params that are edited are an object');
  for (let hasKey = scanner.firstKey(); hasKey; hasKey = scanner.nextKey()) {
    const text = scanner.key < 0 ? undefined : texts[scanner.key];
    scanner.byteAfterSpace();
    const from = scanner.at;
    scanner.skipValue();
    if (text === undefined) continue;
    pieces.push(params.subarray(copied, from), Buffer.from(text));
    copied = scanner.at;
    replaced += 1;
  }
  invariant(replaced === texts.filter((text) => text !== undefined).length, 'params that are edited have the keys that are replaced, each once');
  return replaced === 0 ? params : Buffer.concat([...pieces, params.subarray(copied)]);
}
