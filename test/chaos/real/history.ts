/**
 * The history of a seed as Redis itself wrote it down: every write of every script stands in the append-only file, in
 * order, so every state that any record ever had and every balance at every moment can be judged afterwards, without
 * asking the product anything.
 */
import { readFileSync } from 'node:fs';
import { lifecycle } from '../../../segments/lifecycle.ts';

/** What a file of the history shows. */
export interface History {
  /** `archive: sealed -> submitting`, with how often. */
  readonly edges: ReadonlyMap<string, number>;
  readonly breaches: readonly string[];
  /** Fields of every hash at the end, by key without the prefix. */
  readonly hashes: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly events: readonly { readonly sequence: number; readonly id: string; readonly type: string; readonly subject: string }[];
  /** Reasons that intents and archives were given. */
  readonly reasons: ReadonlySet<string>;
  readonly bytes: Buffer;
}

const nouns = ['run', 'chunk', 'archive', 'intent', 'segment'] as const;
type Noun = (typeof nouns)[number];
const money = ['tokens', 'microUsd'] as const;

/** Every move of the table as an edge. */
export const allEdges: readonly string[] = [...new Set(nouns.flatMap((noun) => lifecycle[noun].moves.map((move) => `${noun}: ${move.from} -> ${move.to}`)))].sort();
const known = new Set(allEdges);

/** Reads one append-only file; a torn end is left out, as Redis does. */
export function readHistory(path: string, prefix: string): History {
  const bytes = readFileSync(path);
  const hashes = new Map<string, Map<string, string>>();
  const edges = new Map<string, number>();
  const breaches: string[] = [];
  const reasons = new Set<string>();
  const events: { sequence: number; id: string; type: string; subject: string }[] = [];
  const touched = new Set<string>();
  let isRebuilding = false;

  const hash = (key: string): Map<string, string> => {
    let fields = hashes.get(key);
    if (!fields) hashes.set(key, (fields = new Map()));
    return fields;
  };
  const write = (key: string, field: string, value: string): void => {
    const name = key.slice(prefix.length);
    const fields = hash(name);
    if (field === 'state') note(name, fields.get('state'), value);
    if (field === 'reason' && value !== '' && (name.startsWith('intent:') || name.startsWith('archive:'))) reasons.add(value);
    if (name === 'standing' && field === 'recovering') isRebuilding = value === '1';
    fields.set(field, value);
    if (name.startsWith('account:')) touched.add(name);
  };
  const note = (name: string, from: string | undefined, to: string): void => {
    const noun = nouns.find((each) => name.startsWith(`${each}:`) && !name.slice(each.length + 1).includes(':'));
    // A rebuild writes states as the lake shows them; it moves nothing.
    if (noun === undefined || from === undefined || from === to || isRebuilding) return;
    const edge = `${noun}: ${from} -> ${to}`;
    edges.set(edge, (edges.get(edge) ?? 0) + 1);
    if (!known.has(edge)) breaches.push(`I15: ${name} moved from ${from} to ${to}`);
    if (lifecycle[noun as Noun].terminal.includes(from)) breaches.push(`I15: ${name} left its end ${from} for ${to}`);
  };
  /** I7, after every script. */
  const weigh = (): void => {
    for (const name of touched) {
      const fields = hash(name);
      const budget = hashes.get(`budget:${name.slice('account:'.length).replace(/@[^@]*$/, '')}`);
      for (const unit of money) {
        const reserved = Number(fields.get(`${unit}Reserved`) ?? 0);
        const spent = Number(fields.get(`${unit}Spent`) ?? 0);
        const limit = budget?.get(unit);
        if (reserved < 0 && !isRebuilding) breaches.push(`I7: ${name} has ${reserved} ${unit} reserved`);
        if (limit !== undefined && limit !== '' && reserved + spent > Number(limit)) breaches.push(`I7: ${name} has ${reserved} reserved and ${spent} spent of ${limit} ${unit}`);
      }
    }
    touched.clear();
  };

  let isTransaction = false;
  for (const command of commandsOf(bytes)) {
    const [verb = '', key = '', ...rest] = command;
    switch (verb.toUpperCase()) {
      case 'MULTI':
        isTransaction = true;
        continue;
      case 'EXEC':
        isTransaction = false;
        break;
      case 'HSET':
      case 'HMSET':
        if (key.startsWith(prefix)) for (let index = 0; index + 1 < rest.length; index += 2) write(key, rest[index] ?? '', rest[index + 1] ?? '');
        break;
      case 'HSETNX':
        if (key.startsWith(prefix)) write(key, rest[0] ?? '', rest[1] ?? '');
        break;
      case 'HINCRBY':
        if (key.startsWith(prefix)) write(key, rest[0] ?? '', String(Number(hash(key.slice(prefix.length)).get(rest[0] ?? '') ?? 0) + Number(rest[1])));
        break;
      case 'HDEL':
        for (const field of rest) hashes.get(key.slice(prefix.length))?.delete(field);
        break;
      case 'DEL':
      case 'UNLINK':
        for (const each of [key, ...rest]) hashes.delete(each.slice(prefix.length));
        break;
      case 'FLUSHALL':
        hashes.clear();
        break;
      case 'XADD':
        if (key === `${prefix}events`) events.push(eventOf(rest));
        break;
      default:
    }
    if (!isTransaction) weigh();
  }
  return { edges, breaches, hashes, events, reasons, bytes };
}

function eventOf(rest: readonly string[]): { sequence: number; id: string; type: string; subject: string } {
  const at = rest.findIndex((part) => /^\d+-\d+$/.test(part));
  const fields = new Map<string, string>();
  for (let index = at + 1; index + 1 < rest.length; index += 2) fields.set(rest[index] ?? '', rest[index + 1] ?? '');
  return { sequence: Number(rest[at]?.split('-')[0]), id: fields.get('id') ?? '', type: fields.get('type') ?? '', subject: fields.get('subject') ?? '' };
}

/** Commands of an append-only file: arrays of bulk strings. */
function* commandsOf(bytes: Buffer): Generator<readonly string[]> {
  let at = 0;
  const line = (mark: number): number | undefined => {
    if (bytes[at] !== mark) return undefined;
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const value = Number(bytes.toString('latin1', at + 1, end));
    at = end + 2;
    return value;
  };
  while (at < bytes.length) {
    const count = line(0x2a);
    if (count === undefined) return;
    const parts: string[] = [];
    for (let index = 0; index < count; index += 1) {
      const size = line(0x24);
      if (size === undefined || at + size > bytes.length) return;
      parts.push(bytes.toString('utf8', at, at + size));
      at += size + 2;
    }
    yield parts;
  }
}
