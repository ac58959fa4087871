/**
 * Reads a YAML document beside the schema and keeps where everything stands. The document is walked by hand, because a
 * fault has to name line and column, and because a number must keep its digits: `usd: 25.10` is money, not a float.
 *
 * Anchors and aliases are refused: they make ten lines stand for a billion values, and nobody needs them here.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { plainFault } from './fault.ts';
import type { ConfigFault } from './fault.ts';
import type { Given, Layer } from './given.ts';
import { suggest } from './suggest.ts';
import { schemaTree, settings } from './tree.ts';
import type { SchemaGroup, Setting } from './tree.ts';

/** Levels below a setting; budgets and contexts need three. */
const depthMax = 8;

/** What the YAML reader's codes mean; its own messages repeat the text, which may be a secret in the wrong place. */
const yamlFaults: ReadonlyMap<string, string> = new Map([
  ['DUPLICATE_KEY', 'The same name stands here twice.'],
  ['TAB_AS_INDENT', 'YAML is indented with blanks, not with tabs.'],
  ['BAD_INDENT', 'The indentation fits none of the lines above.'],
  ['MISSING_CHAR', 'A quote, bracket, colon or comma is missing here or just before.'],
  ['MULTIPLE_DOCS', 'A second YAML document begins here; only one is read.'],
  ['TAG_RESOLVE_FAILED', 'YAML tags are not supported.'],
]);

/** One pass over one document: how a node is named as an origin, and the faults that were found so far. */
interface Reading {
  readonly where: (node: unknown) => string;
  readonly faults: ConfigFault[];
}

function parse(text: string) {
  const lines = new LineCounter();
  return { document: parseDocument(text, { lineCounter: lines, prettyErrors: false, version: '1.2', schema: 'core' }), lines };
}

/** Levels of a text above which it is not read at all. The reader calls itself for each, and a text of some kilobytes that
 *  is nothing but openings takes the process down with it. */
const nestingMax = 64;

/** Where a text is nested too deeply, as an offset; -1: nowhere. Brackets in quotes count too: no setting has so many. */
function tooDeepAt(text: string): number {
  const inLine = /(?:[-?:][ \t]+){64}|^[ \t]{1024}/m.exec(text)?.index ?? -1;
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '[' || char === '{') depth += 1;
    else if ((char === ']' || char === '}') && depth > 0) depth -= 1;
    if (depth > nestingMax) return inLine < 0 ? at : Math.min(inLine, at);
  }
  return inLine;
}

function offsetOf(node: unknown): number {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? (node.range?.[0] ?? 0) : 0;
}

function isNull(node: unknown): boolean {
  return node === null || node === undefined || (isScalar(node) && node.value === null);
}

function keyText(key: unknown): string {
  if (!isScalar(key)) return '';
  return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value));
}

/** A node as plain data. `places` gets where each part of it stands, by its keys joined with a newline. */
function plain(reading: Reading, node: unknown, path: string, places: Map<string, string>, keys: readonly string[]): unknown {
  const place = keys.join('\n');
  if (!places.has(place)) places.set(place, reading.where(node));
  if (isAlias(node)) reading.faults.push(plainFault(path, reading.where(node), `${path} uses a YAML alias; write the value out.`));
  if (keys.length > depthMax) reading.faults.push(plainFault(path, reading.where(node), `${path} is nested deeper than any setting.`));
  if (isAlias(node) || isNull(node) || keys.length > depthMax) return null;
  if (isSeq(node)) return node.items.map((item, index) => plain(reading, item, path, places, [...keys, String(index)]));
  if (isScalar(node)) return typeof node.value === 'number' && !Number.isSafeInteger(node.value) ? node.source : node.value;
  if (!isMap(node)) return null;
  const entries = node.items.map((pair): [string, unknown] => {
    const key = keyText(pair.key);
    if (key === '__proto__') reading.faults.push(plainFault(path, reading.where(pair.key), `${path} cannot hold the name __proto__.`));
    places.set([...keys, key].join('\n'), reading.where(isNull(pair.value) ? pair.key : pair.value));
    return [key, plain(reading, pair.value, path, places, [...keys, key])];
  });
  return Object.fromEntries(entries);
}

function readSetting(reading: Reading, setting: Setting, key: unknown, node: unknown): readonly Given[] {
  const { path, note } = setting;
  if (isNull(node)) {
    if (!note.isStructure) reading.faults.push(plainFault(path, reading.where(key), `${path} has no value; give it one or remove the line.`));
    return [];
  }
  if (note.isSecret) {
    const message = `${path} is a secret and does not belong in a file that is copied and committed; set its variable instead.`;
    reading.faults.push(plainFault(path, reading.where(key), message));
    return [];
  }
  const places = new Map<string, string>();
  const faultsBefore = reading.faults.length;
  const value = plain(reading, node, path, places, []);
  if (reading.faults.length > faultsBefore) return [];
  const origin = (at: readonly PropertyKey[]): string => {
    const texts = at.map(String);
    while (texts.length > 0 && !places.has(texts.join('\n'))) texts.pop();
    return places.get(texts.join('\n')) ?? reading.where(node);
  };
  return [{ setting, value, origin }];
}

/** A sibling that is spelled nearly so; otherwise the same name elsewhere in the schema, or a path that is near. */
function nearestPath(group: SchemaGroup, path: string, name: string): string | undefined {
  const sibling = suggest(name, group.members.keys());
  if (sibling !== undefined) return group.path === '' ? sibling : `${group.path}.${sibling}`;
  return [...settings.keys()].find((known) => known.endsWith(`.${name}`)) ?? suggest(path, settings.keys());
}

function readGroup(reading: Reading, group: SchemaGroup, key: unknown, node: unknown): readonly Given[] {
  if (isNull(node)) return [];
  if (!isMap(node)) {
    const name = group.path === '' ? 'The document' : group.path;
    const message = `${name} must be a map with some of ${[...group.members.keys()].join(', ')}.`;
    reading.faults.push(plainFault(group.path, reading.where(node ?? key), message));
    return [];
  }
  return node.items.flatMap((pair) => {
    const name = keyText(pair.key);
    const member = group.members.get(name);
    if (member?.kind === 'group') return readGroup(reading, member, pair.key, pair.value);
    if (member) return readSetting(reading, member.setting, pair.key, pair.value);
    const path = group.path === '' ? name : `${group.path}.${name}`;
    reading.faults.push(plainFault(path, reading.where(pair.key), `${path} is not a setting.`, nearestPath(group, path, name)));
    return [];
  });
}

/** Reads a settings file; `name` is how origins call it. The values themselves are judged later. */
export function readDocument(text: string, name: string): Layer {
  const deepAt = tooDeepAt(text);
  if (deepAt >= 0) return { given: [], faults: [plainFault('', `${name}:${text.slice(0, deepAt).split('\n').length}`, 'This is nested deeper than any setting.')] };
  const { document, lines } = parse(text);
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const broken = [...document.errors, ...document.warnings];
  if (broken.length > 0) {
    return {
      given: [],
      faults: broken.map(({ code, pos }) => plainFault('', at(pos[0]), yamlFaults.get(code) ?? `This is no valid YAML (${code}).`)),
    };
  }
  const reading: Reading = { where: (node) => at(offsetOf(node)), faults: [] };
  const given = readGroup(reading, schemaTree, undefined, document.contents);
  return { given, faults: reading.faults };
}

/** Reads a list or a map that stands in a variable or a flag as YAML or JSON; the text itself when it is neither. */
export function readInline(text: string): unknown {
  if (tooDeepAt(text) >= 0) return text;
  const { document } = parse(text);
  const reading: Reading = { where: () => '', faults: [] };
  const value = plain(reading, document.contents, '', new Map(), []);
  return document.errors.length + document.warnings.length + reading.faults.length > 0 ? text : value;
}
