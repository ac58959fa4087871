/**
 * The keys around a prompt: who it is and how it is to be served. Each rule reads the value from the line's own bytes,
 * because the line is parsed as latin1 (performance.md: three times faster) and a parsed string is therefore not text.
 */
import { topicPattern } from '../segments/segment.ts';
import type { Priority } from '../segments/segment.ts';
import { suggest } from '../config/suggest.ts';
import { didYouMean, fault, quoted } from './faults.ts';
import type { Fault } from './faults.ts';
import type { LineText } from './outline.ts';
import type { Member } from './scan.ts';

export const idBytesMax = 1_024;
export const metadataBytesMax = 64 * 1024;
/** Stands in ledger keys as `segment|client` and in exported rows. */
export const clientPattern = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$/;
/** Latin1 readings that are the text itself: nothing escaped, nothing beyond ASCII. */
const isPlainString = /^[^\\\u0080-\u00ff]*$/;
const isAscii = /^[^\u0080-\u00ff]*$/;
const openingBrace = 0x7b;
const requestedPriorities = ['high', 'normal', 'low'] as const;

export type Reading<Value> = { readonly value: Value } | { readonly fault: Fault };

/** A string member as text; undefined when its value is no string. */
export function stringOf(line: LineText, member: Member): string | undefined {
  if (line.bytes[member.start] !== 0x22) return undefined;
  const raw = line.bytes.toString('latin1', member.start + 1, member.end - 1);
  if (isPlainString.test(raw)) return raw;
  const value: unknown = JSON.parse(line.bytes.toString('utf8', member.start, member.end));
  return typeof value === 'string' ? value : undefined;
}

export function readId(line: LineText, member: Member | undefined): Reading<string> {
  if (!member) return { fault: fault('id_missing', 'there is no "id" (or "custom_id")') };
  const id = stringOf(line, member);
  if (id === undefined) return { fault: fault('id_invalid', `"${member.key}" must be a string; put it in double quotes`, member.start) };
  if (id === '') return { fault: fault('id_invalid', `"${member.key}" is empty`, member.start) };
  if (id.includes('\0')) return { fault: fault('id_invalid', `"${member.key}" has a NUL character`, member.start) };
  const sizeBytes = Buffer.byteLength(id, 'utf8');
  if (sizeBytes > idBytesMax) return { fault: fault('id_invalid', `"${member.key}" has ${sizeBytes} bytes, at most ${idBytesMax} are allowed`, member.start) };
  return { value: id };
}

export function readTopic(line: LineText, member: Member | undefined, standard: string): Reading<string> {
  if (!member) return { value: standard };
  const topic = stringOf(line, member);
  if (topic !== undefined && topicPattern.test(topic)) return { value: topic };
  const shown = topic === undefined ? 'the topic is no string' : `the topic ${quoted(topic)} is not allowed`;
  const meant = topic?.toLowerCase().replaceAll(/[^a-z0-9_-]+/g, '-');
  const hint = meant !== undefined && topicPattern.test(meant) ? `; ${quoted(meant)} would be` : '';
  return { fault: fault('topic_invalid', `${shown}: 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or a digit${hint}`, member.start) };
}

export function readPriority(line: LineText, member: Member | undefined, standard: Priority): Reading<Priority> {
  if (!member) return { value: standard };
  const word = stringOf(line, member);
  const known = requestedPriorities.find((candidate) => candidate === word);
  if (known) return { value: known };
  const shown = word === undefined ? 'the priority is no string' : `the priority ${quoted(word)} is not known${didYouMean(suggest(word, requestedPriorities))}`;
  return { fault: fault('priority_invalid', `${shown}: use high, normal or low`, member.start) };
}

export function readClient(line: LineText, member: Member | undefined, standard: string): Reading<string> {
  if (!member) return { value: standard };
  const client = stringOf(line, member);
  if (client !== undefined && clientPattern.test(client)) return { value: client };
  const shown = client === undefined ? 'the client is no string' : `the client ${quoted(client)} is not allowed`;
  return { fault: fault('client_invalid', `${shown}: 1 to 100 of A-Z, a-z, 0-9, ., _, @ and -, beginning with a letter or a digit`, member.start) };
}

/** An RFC 3339 instant with its offset, or integer Unix milliseconds; seconds are refused as what they are. */
export function readDeadline(line: LineText, member: Member | undefined): Reading<number | undefined> {
  if (!member) return { value: undefined };
  const text = stringOf(line, member);
  const atMs = text === undefined ? Number(line.bytes.toString('latin1', member.start, member.end)) : instantOf(text);
  if (Number.isSafeInteger(atMs) && atMs >= 100_000_000_000) return { value: atMs };
  const expected = 'an instant such as "2026-11-22T06:00:00Z", or Unix milliseconds';
  return { fault: fault('deadline_invalid', `the deadline must be ${expected}`, member.start) };
}

function instantOf(text: string): number {
  return /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : Number.NaN;
}

/** The metadata as the JSON text that stands in the line. */
export function readMetadata(line: LineText, member: Member | undefined): Reading<string | undefined> {
  if (!member) return { value: undefined };
  if (line.bytes[member.start] !== openingBrace) return { fault: fault('metadata_invalid', 'the metadata must be an object', member.start) };
  const sizeBytes = member.end - member.start;
  if (sizeBytes > metadataBytesMax) {
    return { fault: fault('metadata_invalid', `the metadata has ${sizeBytes} bytes, at most ${metadataBytesMax} are allowed`, member.start) };
  }
  const latin1 = line.bytes.toString('latin1', member.start, member.end);
  return { value: isAscii.test(latin1) ? latin1 : line.bytes.toString('utf8', member.start, member.end) };
}
