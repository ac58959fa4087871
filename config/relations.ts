/**
 * What must hold between settings, as a table. A setting that is right by itself can still be wrong beside another: a
 * chunk larger than an archive would never be packed, a lease shorter than a sweep would be taken from a living worker.
 */
import { bodyBytes } from '../segments/pack.ts';
import { segmentParts } from '../segments/segment.ts';
import { plainFault } from './fault.ts';
import type { ConfigFault } from './fault.ts';
import { durationText } from './quantity.ts';
import type { Values } from './schema.ts';
import { suggest } from './suggest.ts';

interface Relation {
  /** The settings that it is between; the first is the one that is named as wrong. */
  readonly between: readonly [string, string];
  readonly holds: (values: Values) => boolean;
  /** The two values as text, in the order of `between`. */
  readonly shown: (values: Values) => readonly [string, string];
  /** "must not be longer than": stands between the two names. */
  readonly must: string;
  /** What would happen otherwise, one sentence. */
  readonly why: string;
}

const relations: readonly Relation[] = [
  {
    between: ['poll.min', 'poll.max'],
    holds: ({ poll }) => poll.min <= poll.max,
    shown: ({ poll }) => [durationText(poll.min), durationText(poll.max)],
    must: 'must not be longer than',
    why: 'The wait between polls grows from the one to the other.',
  },
  {
    between: ['chunk.bytesMax', 'archive.bytesMax'],
    holds: ({ chunk, archive }) => chunk.bytesMax < archive.bytesMax,
    shown: ({ chunk, archive }) => [String(chunk.bytesMax), String(archive.bytesMax)],
    must: 'must be smaller than',
    why: 'An archive is made of whole chunks and its own framing.',
  },
  {
    between: ['chunk.rowsMax', 'archive.rowsMax'],
    holds: ({ chunk, archive }) => chunk.rowsMax <= archive.rowsMax,
    shown: ({ chunk, archive }) => [String(chunk.rowsMax), String(archive.rowsMax)],
    must: 'must not be greater than',
    why: 'An archive is made of whole chunks.',
  },
  {
    between: ['chunk.openBytesMax', 'chunk.bytesMax'],
    holds: ({ chunk }) => chunk.openBytesMax >= chunk.bytesMax,
    shown: ({ chunk }) => [String(chunk.openBytesMax), String(chunk.bytesMax)],
    must: 'must not be smaller than',
    why: 'Otherwise no chunk could ever fill up.',
  },
  {
    between: ['sweep.lease', 'sweep.interval'],
    holds: ({ sweep }) => sweep.lease > sweep.interval,
    shown: ({ sweep }) => [durationText(sweep.lease), durationText(sweep.interval)],
    must: 'must be longer than',
    why: 'Otherwise a sweep would take work from a worker that is alive.',
  },
  {
    between: ['input.lineBytesMax', 'archive.bytesMax'],
    holds: ({ input, archive }) => input.lineBytesMax === undefined || bodyBytes(1, input.lineBytesMax) <= archive.bytesMax,
    shown: ({ input, archive }) => [String(input.lineBytesMax), String(archive.bytesMax)],
    must: 'must leave room for the framing within',
    why: 'A prompt that fits into no archive could never be sent.',
  },
];

/** Where the value of a setting came from, or a part of it. */
export type OriginOf = (path: string, at?: readonly PropertyKey[]) => string;

function relationFault(relation: Relation, values: Values, originOf: OriginOf): ConfigFault {
  const [first, second] = relation.between;
  const [firstShown, secondShown] = relation.shown(values);
  const isFirstDefault = originOf(first) === 'default';
  const allowed = `${first} ${relation.must} ${second}`;
  return {
    path: isFirstDefault ? second : first,
    origin: originOf(isFirstDefault ? second : first),
    value: isFirstDefault ? secondShown : firstShown,
    allowed,
    message: `${first} (${firstShown}, ${originOf(first)}) ${relation.must} ${second} (${secondShown}, ${originOf(second)}). ${relation.why}`,
    suggestion: undefined,
  };
}

function budgetClassFaults(values: Values, originOf: OriginOf): readonly ConfigFault[] {
  const names = values.contexts.map(({ name }) => name);
  return Object.keys(values.budgets).flatMap((target) => {
    const contextClass = target.startsWith('segment:') ? segmentParts(target.slice('segment:'.length))?.contextClass : undefined;
    if (contextClass === undefined || names.includes(contextClass)) return [];
    const message = `The budget of ${target} can never apply: the context classes are ${names.join(', ')}.`;
    return [plainFault(`budgets.${target}`, originOf('budgets', [target]), message, suggest(contextClass, names))];
  });
}

/** Clients in tiers that are not there. */
function clientTierFaults(values: Values, originOf: OriginOf): readonly ConfigFault[] {
  const names = Object.keys(values.tiers);
  const fault = (path: string, origin: string, tier: string): ConfigFault =>
    plainFault(path, origin, `${path} (${tier}) is not a tier: ${names.length === 0 ? 'tiers has none' : `tiers has ${names.join(', ')}`}.`, suggest(tier, names));
  const clients = Object.entries(values.clients).flatMap(([client, { tier }]) => (tier === undefined || Object.hasOwn(values.tiers, tier) ? [] : [fault(`clients.${client}.tier`, originOf('clients', [client, 'tier']), tier)]));
  const { tier } = values.defaults;
  return tier === undefined || Object.hasOwn(values.tiers, tier) ? clients : [fault('defaults.tier', originOf('defaults.tier'), tier), ...clients];
}

/** The relations that do not hold. Those with a setting in `skip`, whose value is not to be trusted, are left out. */
export function relationFaults(values: Values, originOf: OriginOf, skip: ReadonlySet<string>): readonly ConfigFault[] {
  const broken = relations.filter(({ between, holds }) => !between.some((path) => skip.has(path)) && !holds(values));
  const budgets = skip.has('budgets') || skip.has('contexts') ? [] : budgetClassFaults(values, originOf);
  const tiers = ['tiers', 'clients', 'defaults.tier'].some((path) => skip.has(path)) ? [] : clientTierFaults(values, originOf);
  return [...broken.map((relation) => relationFault(relation, values, originOf)), ...budgets, ...tiers];
}
