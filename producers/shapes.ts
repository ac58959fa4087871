/**
 * The three shapes of a line, told apart line by line, so that one file may mix them:
 *
 *   ours       {"id","topic?","priority?","client?","deadline?","metadata?","params":{…}}
 *   short      {"id","prompt","system?","model?","max_tokens?", and the same optional keys}
 *   provider's {"custom_id","params"}
 *
 * `params` are spliced from the line: the bytes that the user wrote are the bytes that are sent, found by the scan at
 * their depth and never printed again. Only the short shape is put together here, once.
 */
import { isUtf8 } from 'node:buffer';
import { suggest } from '../config/suggest.ts';
import type { Priority } from '../segments/segment.ts';
import type { ParsedParams } from '../segments/estimate.ts';
import { readClient, readDeadline, readId, readMetadata, readPriority, readTopic, stringOf } from './envelope.ts';
import type { Reading } from './envelope.ts';
import { didYouMean, fault, quoted } from './faults.ts';
import type { Fault } from './faults.ts';
import { findJsonFault } from './json-fault.ts';
import { wholeLine } from './outline.ts';
import type { LineText } from './outline.ts';
import { fromLatin1, scanLine } from './scan.ts';
import type { Member } from './scan.ts';
import { findInvalidUtf8, findLoneSurrogate } from './unicode.ts';

/** What fills in the keys that a line leaves out. */
export interface ShapeDefaults {
  readonly topic: string;
  readonly priority: Priority;
  readonly client: string;
  /** Only for the short shape: params are sent as they are written. */
  readonly model: string | undefined;
  readonly maxTokens: number | undefined;
}

/** A line that has the right shape; its params are not yet judged. */
export interface Draft {
  readonly id: string;
  readonly topic: string;
  readonly priority: Priority;
  readonly client: string;
  readonly deadlineMs: number | undefined;
  readonly metadataJson: string | undefined;
  /** The final bytes. A slice of the line, valid as long as the line is. */
  readonly params: Buffer;
  /** The same, parsed. Strings are latin1 readings unless the line was in the short shape; of an outline, the long ones
   *  are cut. */
  readonly parsed: ParsedParams;
  /** Whether the params may have a `\u` escape: they hide characters from whoever looks at the bytes. */
  readonly hasEscapes: boolean;
  /** Whether normalising is known not to lengthen the params. */
  readonly isPlain: boolean;
}

const unicodeEscape = Buffer.from('\\u');
const commonKeys = ['id', 'custom_id', 'topic', 'priority', 'client', 'deadline', 'metadata'] as const;
const paramsKeys: readonly string[] = [...commonKeys, 'params'];
const shortKeys: readonly string[] = [...commonKeys, 'prompt', 'system', 'model', 'max_tokens'];
const shortOnly = new Set(['prompt', 'system', 'model', 'max_tokens']);

/** Reads one line that is not blank. */
export function readShape(bytes: Buffer, defaults: ShapeDefaults): Reading<Draft> {
  return isUtf8(bytes) ? readText(wholeLine(bytes), defaults) : { fault: invalidUtf8(bytes) };
}

/** The fault of a line that is no UTF-8. */
export function invalidUtf8(bytes: Buffer): Fault {
  return fault('invalid_utf8', 'the line has bytes that are not UTF-8; convert the file first, for example with iconv', findInvalidUtf8(bytes));
}

/** Reads a line of valid UTF-8, whole or in outline. A fault of an outline says only that the whole must be read. */
export function readText(line: LineText, defaults: ShapeDefaults): Reading<Draft> {
  const { text } = line;
  const scan = scanLine(text);
  if (scan.kind === 'fault') return { fault: scan.fault.code === 'nesting_too_deep' ? scan.fault : (parseFault(text) ?? scan.fault) };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { fault: parseFault(text) ?? fault('invalid_json', 'the line is not JSON') };
  }
  if (!isObject(parsed)) return { fault: fault('not_an_object', 'the line must be a JSON object, {…}') };
  const surrogateAt = line.hasEscapes ? findLoneSurrogate(text) : undefined;
  if (surrogateAt !== undefined) {
    return { fault: fault('lone_surrogate', 'an escape names half of a surrogate pair; the provider cannot read it', surrogateAt) };
  }
  const members = new Map<string, Member>();
  for (const { key, keyAt, start, end } of scan.members) {
    members.set(key, { key, keyAt: line.placeOf(keyAt), start: line.placeOf(start), end: line.placeOf(end) });
  }
  return members.has('params') ? readWithParams(line, members, parsed, defaults) : readShort(line, members, defaults);
}

/** Where a text stops being JSON, or undefined when it does not. */
function parseFault(latin1: string): Fault | undefined {
  const found = findJsonFault(latin1);
  return found && fault('invalid_json', `invalid JSON: expected ${found.expected}`, found.at);
}

function readWithParams(line: LineText, members: ReadonlyMap<string, Member>, parsed: Record<string, unknown>, defaults: ShapeDefaults): Reading<Draft> {
  for (const stray of members.keys()) {
    if (!shortOnly.has(stray)) continue;
    const advice = `the line has "params" and ${quoted(stray)}; put it into the params, or leave the params out`;
    return { fault: fault('shape_ambiguous', advice, members.get(stray)?.keyAt) };
  }
  const envelope = readEnvelope(line, members, paramsKeys, defaults);
  if ('fault' in envelope) return envelope;
  // Written out: to spread the envelope into a larger object costs more than all else that is done to a usual line.
  const { id, topic, priority, client, deadlineMs, metadataJson } = envelope.value;
  const member = members.get('params');
  const params = parsed['params'];
  if (!member || !isObject(params)) return { fault: fault('params_invalid', '"params" must be an object', member?.start) };
  const { bytes, hasEscapes, isPlain } = line;
  return { value: { id, topic, priority, client, deadlineMs, metadataJson, params: bytes.subarray(member.start, member.end), parsed: params, hasEscapes, isPlain } };
}

function readShort(line: LineText, members: ReadonlyMap<string, Member>, defaults: ShapeDefaults): Reading<Draft> {
  const promptMember = members.get('prompt');
  if (!promptMember) {
    // A mistyped `params` or `prompt` is named as such; otherwise the line has no shape at all.
    const unknown = unknownKey(members, [...paramsKeys, 'prompt']);
    return { fault: unknown ?? fault('shape_unknown', 'the line has neither "params" nor "prompt"') };
  }
  const envelope = readEnvelope(line, members, shortKeys, defaults);
  if ('fault' in envelope) return envelope;
  const prompt = stringOf(line, promptMember);
  if (!prompt) return { fault: fault('prompt_invalid', '"prompt" must be a string that is not empty', promptMember.start) };
  const systemMember = members.get('system');
  const system = systemMember && stringOf(line, systemMember);
  if (systemMember && system === undefined) return { fault: fault('prompt_invalid', '"system" must be a string', systemMember.start) };
  const model = valueOf(line, members.get('model')) ?? defaults.model;
  const maxTokens = valueOf(line, members.get('max_tokens')) ?? defaults.maxTokens;
  const parsed = {
    ...(model === undefined ? {} : { model }),
    ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
    ...(system === undefined ? {} : { system }),
    messages: [{ role: 'user', content: prompt }],
  };
  const params = Buffer.from(JSON.stringify(parsed), 'utf8');
  const { id, topic, priority, client, deadlineMs, metadataJson } = envelope.value;
  return { value: { id, topic, priority, client, deadlineMs, metadataJson, params, parsed, hasEscapes: params.includes(unicodeEscape), isPlain: false } };
}

function readEnvelope(
  line: LineText,
  members: ReadonlyMap<string, Member>,
  allowed: readonly string[],
  defaults: ShapeDefaults,
): Reading<Omit<Draft, 'params' | 'parsed' | 'hasEscapes' | 'isPlain'>> {
  const unknown = unknownKey(members, allowed);
  if (unknown) return { fault: unknown };
  const custom = members.get('custom_id');
  if (custom && members.has('id')) return { fault: fault('shape_ambiguous', 'the line has "id" and "custom_id"; keep one', custom.keyAt) };
  const id = readId(line, members.get('id') ?? custom);
  if ('fault' in id) return id;
  const topic = readTopic(line, members.get('topic'), defaults.topic);
  if ('fault' in topic) return topic;
  const priority = readPriority(line, members.get('priority'), defaults.priority);
  if ('fault' in priority) return priority;
  const client = readClient(line, members.get('client'), defaults.client);
  if ('fault' in client) return client;
  const deadline = readDeadline(line, members.get('deadline'));
  if ('fault' in deadline) return deadline;
  const metadata = readMetadata(line, members.get('metadata'));
  if ('fault' in metadata) return metadata;
  return {
    value: {
      id: id.value,
      topic: topic.value,
      priority: priority.value,
      client: client.value,
      deadlineMs: deadline.value,
      metadataJson: metadata.value,
    },
  };
}

function unknownKey(members: ReadonlyMap<string, Member>, allowed: readonly string[]): Fault | undefined {
  for (const [key, member] of members) {
    if (allowed.includes(key)) continue;
    const word = fromLatin1(key);
    return fault('key_unknown', `the key ${quoted(word)} is not known${didYouMean(suggest(word, allowed))}`, member.keyAt);
  }
  return undefined;
}

/** A member's value, whatever it is; the rules for params judge it. */
function valueOf(line: LineText, member: Member | undefined): unknown {
  return member && (JSON.parse(line.bytes.toString('utf8', member.start, member.end)) as unknown);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
