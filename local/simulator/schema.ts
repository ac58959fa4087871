import { isList, isObject, listOf, numberOf, textOf, type JsonObject } from './shape.ts';

/**
 * Makes a JSON value that satisfies a JSON schema, for requested output formats and tool inputs. Every property is filled in, required or
 * not, because that is what a caller's parser has to cope with. References, combinations and the usual bounds are honoured. A schema nested
 * deeper than 12 levels gets its smallest value, which ends recursive definitions, and so does one that has grown to 20,000 values. What
 * then still goes on holds itself with no way out: such a schema has no finite value, and only an error is true of it.
 */

const DEEPEST = 12;
/** Levels after which a schema is taken to hold itself without end. Real ones that nest this deep are not known. */
const ENDLESS = 64;
const VALUES_MOST = 20_000;
/** A bound on texts whose `minLength` no answer could hold, characters. */
const TEXT_MOST = 100_000;
const WORDS = ['amber', 'harbor', 'ledger', 'north', 'signal', 'copper', 'meadow', 'quartz', 'lantern', 'orbit', 'willow', 'summit'];

/** No finite JSON value satisfies a schema, for example `{"$ref": "#"}` or an object that requires itself; or none of a size that can be sent. */
export class SchemaEndless extends Error {
  override readonly name = 'SchemaEndless';
}

/** A value for `schema`, chosen by `next` (numbers in [0, 1)). Throws `SchemaEndless`. */
export function valueFor(schema: unknown, next: () => number): unknown {
  return make(schema, { root: isObject(schema) ? schema : {}, next, depth: 0, made: { values: 0 } });
}

interface Frame {
  readonly root: JsonObject;
  readonly next: () => number;
  readonly depth: number;
  /** Counted over the whole value, because width multiplies with every level. */
  readonly made: { values: number };
}

function make(schema: unknown, frame: Frame): unknown {
  frame.made.values += 1;
  if (frame.depth >= ENDLESS || frame.made.values > 2 * VALUES_MOST) {
    throw new SchemaEndless('The schema has no finite value.');
  }
  if (!isObject(schema)) {
    return pick(WORDS, frame.next);
  }
  const inner: Frame = { ...frame, depth: frame.depth + 1 };
  if (typeof schema.$ref === 'string') {
    return make(resolve(schema.$ref, frame.root), inner);
  }
  if (schema.const !== undefined) {
    return schema.const;
  }
  if (isList(schema.enum) && schema.enum.length > 0) {
    return pick(schema.enum, frame.next);
  }
  const choices = [...listOf(schema.anyOf), ...listOf(schema.oneOf)];
  if (choices.length > 0) {
    return make(isLarge(frame) ? (choices.find(isNullSchema) ?? choices.find(isFlat) ?? choices[0]) : pick(choices, frame.next), inner);
  }
  if (isList(schema.allOf) && schema.allOf.length > 0) {
    const parts = schema.allOf.map((part) => (isObject(part) && typeof part.$ref === 'string' ? resolve(part.$ref, frame.root) : part));
    return make(merge(schema, parts), inner);
  }
  return makeOfType(schema, typeOf(schema, frame), inner);
}

/** From here on only the smallest values are made. */
function isLarge({ depth, made }: Frame): boolean {
  return depth >= DEEPEST || made.values > VALUES_MOST;
}

function isNullSchema(choice: unknown): boolean {
  return isObject(choice) && choice.type === 'null';
}

/** True for a choice that cannot lead back to the schema it is a choice of. */
function isFlat(choice: unknown): boolean {
  return isObject(choice) && (choice.const !== undefined || choice.enum !== undefined || ['string', 'integer', 'number', 'boolean'].includes(textOf(choice.type) ?? ''));
}

function typeOf(schema: JsonObject, frame: Frame): string {
  const types = isList(schema.type) ? schema.type : [schema.type];
  const usable = types.filter((type) => typeof type === 'string' && type !== 'null');
  const named = textOf(isLarge(frame) && types.includes('null') ? 'null' : (usable[0] ?? types[0]));
  return named ?? (isObject(schema.properties) ? 'object' : schema.items === undefined ? 'string' : 'array');
}

function makeOfType(schema: JsonObject, type: string, frame: Frame): unknown {
  switch (type) {
    case 'object':
      return makeObject(schema, frame);
    case 'array':
      return makeArray(schema, frame);
    case 'integer':
    case 'number':
      return makeNumber(schema, type === 'integer', frame.next);
    case 'boolean':
      return frame.next() < 0.5;
    case 'null':
      return null;
    default:
      return makeText(schema, frame.next);
  }
}

function makeObject(schema: JsonObject, frame: Frame): JsonObject {
  const made: Record<string, unknown> = {};
  const required = new Set(listOf(schema.required));
  const properties = isObject(schema.properties) ? schema.properties : {};
  for (const [name, property] of Object.entries(properties)) {
    if (!isLarge(frame) || required.has(name)) {
      made[name] = make(property, frame);
    }
  }
  for (const name of required) {
    if (typeof name === 'string' && !Object.hasOwn(made, name)) {
      made[name] = make(schema.additionalProperties, frame);
    }
  }
  return made;
}

function makeArray(schema: JsonObject, frame: Frame): unknown[] {
  const least = numberOf(schema.minItems) ?? 0;
  const most = numberOf(schema.maxItems) ?? Math.max(least, 3);
  const length = isLarge(frame) ? least : Math.max(least, Math.min(most, 1 + Math.floor(frame.next() * 3)));
  const leading = listOf(schema.prefixItems).map((item) => make(item, frame));
  while (leading.length < length) {
    leading.push(make(schema.items, frame));
  }
  return leading;
}

function makeNumber(schema: JsonObject, isInteger: boolean, next: () => number): number {
  const step = numberOf(schema.multipleOf) ?? (isInteger ? 1 : 0.01);
  const above = numberOf(schema.exclusiveMinimum);
  const below = numberOf(schema.exclusiveMaximum);
  const least = numberOf(schema.minimum) ?? (above === undefined ? undefined : above + step);
  const most = numberOf(schema.maximum) ?? (below === undefined ? undefined : below - step);
  const from = least ?? (most === undefined ? 0 : Math.min(0, most));
  const to = most ?? from + 100;
  const value = Math.ceil(from / step) * step + Math.floor(next() * Math.max(1, Math.floor((to - from) / step))) * step;
  const clean = isInteger ? Math.round(value) : Number(value.toFixed(6));
  return Math.min(Math.max(clean, from), to);
}

const FORMATS: Readonly<Record<string, string>> = {
  'date-time': '2026-11-21T08:30:00Z',
  date: '2026-11-21',
  time: '08:30:00Z',
  duration: 'P1DT2H',
  email: 'reader@example.com',
  hostname: 'example.com',
  uri: 'https://example.com/item',
  ipv4: '192.0.2.10',
  ipv6: '2001:db8::10',
  uuid: '6f1d1c1e-6f5a-4b0a-9a55-0d8f4c2b7e10',
};

function makeText(schema: JsonObject, next: () => number): string {
  const format = FORMATS[textOf(schema.format) ?? ''];
  if (format !== undefined) {
    return format;
  }
  const least = Math.min(numberOf(schema.minLength) ?? 0, TEXT_MOST);
  const most = numberOf(schema.maxLength) ?? Infinity;
  let text = `${pick(WORDS, next)} ${pick(WORDS, next)}`;
  while (text.length < least) {
    text += ` ${pick(WORDS, next)}`;
  }
  return text.length > most ? text.slice(0, most) : text;
}

/** `#/$defs/Name` and the like; anything else resolves to an open schema. */
function resolve(reference: string, root: JsonObject): unknown {
  let found: unknown = root;
  for (const step of reference.replace(/^#\/?/, '').split('/').filter((part) => part !== '')) {
    found = isObject(found) ? found[step.replaceAll('~1', '/').replaceAll('~0', '~')] : undefined;
  }
  return found;
}

/** One schema out of `allOf` and its surroundings; object parts are joined. */
function merge(schema: JsonObject, parts: readonly unknown[]): JsonObject {
  const { allOf: _parts, ...own } = schema;
  let joined: JsonObject = own;
  for (const part of parts) {
    if (isObject(part)) {
      joined = {
        ...joined,
        ...part,
        properties: { ...(isObject(joined.properties) ? joined.properties : {}), ...(isObject(part.properties) ? part.properties : {}) },
        required: [...listOf(joined.required), ...listOf(part.required)],
      };
    }
  }
  return joined;
}

function pick<Item>(items: readonly Item[], next: () => number): Item | undefined {
  return items[Math.floor(next() * items.length)];
}
