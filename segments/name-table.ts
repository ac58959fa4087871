/** Numbers for names that come again and again: models, error types, stop reasons. Bounded, since a broken stream could invent any. */
import type { Span } from './json-span.ts';
import type { ResultLine } from './result-line.ts';

const nameLengthMax = 256;

/** Names and their numbers; 0 stands for none. */
export class NameTable {
  readonly #namesMax: number;
  readonly #names: (string | undefined)[];
  readonly #ids = new Map<string, number>();
  #lastName: string | undefined;
  #lastId = 0;

  /** `namesMax`: how many there may be; `names`: those of a table that goes on here. */
  constructor(namesMax: number, names: readonly (string | undefined)[] = [undefined]) {
    this.#namesMax = namesMax;
    this.#names = [...names];
    for (const [id, name] of names.entries()) if (name !== undefined) this.#ids.set(name, id);
  }

  /** All of them by their numbers. */
  get names(): readonly (string | undefined)[] {
    return this.#names;
  }

  nameOf(id: number): string | undefined {
    return this.#names[id];
  }

  /** The number of the name that stands in a span of the line, 0 when there is none; undefined beyond the bounds. */
  idOf(line: ResultLine, span: Span): number | undefined {
    // Nearly every line has the name of the line before.
    if (this.#lastName !== undefined && line.isText(span, this.#lastName)) return this.#lastId;
    const name = line.textOf(span);
    if (name === undefined) return 0;
    let id = this.#ids.get(name);
    if (id === undefined) {
      if (name.length > nameLengthMax || this.#names.length > this.#namesMax) return undefined;
      id = this.#names.length;
      this.#ids.set(name, id);
      this.#names.push(name);
    }
    this.#lastName = name;
    this.#lastId = id;
    return id;
  }
}
