/**
 * Where events go and where documents come from, as it is written: destinations have names and stand in the
 * configuration, because an address that arrived in a message could send signed requests anywhere.
 *
 *   events:
 *     sinks:
 *       etl: { kind: sqs, url: https://sqs.eu-central-1.amazonaws.com/123456789012/plimsoll.fifo, group: topic }
 *       ops: { kind: webhook, url: https://hooks.example.com/plimsoll, types: [run, budget.exceeded] }
 */
import { z } from 'zod';
import { topicPattern } from '../segments/segment.ts';
import { choice, noNote, notes, text } from './setting.ts';

/** One destination. */
export interface Sink {
  readonly name: string;
  readonly kind: 'sqs' | 'webhook';
  /** URL of the queue or of the webhook. A queue is FIFO when its name ends in `.fifo`. */
  readonly url: string;
  /** What the events of one FIFO message group share. */
  readonly group: 'topic' | 'subject';
  /** Types that it gets, `run.completed`, or whole families, `run`; undefined: all. */
  readonly types: readonly string[] | undefined;
  /** Where a sink that is new begins: with the first event that is kept, or with the next one. */
  readonly from: 'first' | 'now';
}

const sinksMax = 32;
const placesMax = 100;
const urlAllowed = 'an http or https URL without credentials and fragment';
const typeAllowed = 'a type of events such as run.completed, or a family such as run';

function isPlainUrl(given: string): boolean {
  if (!URL.canParse(given)) return false;
  const url = new URL(given);
  return url.username === '' && url.password === '' && url.hash === '';
}

const sinkType = z.strictObject({
  kind: choice(['sqs', 'webhook']).describe('An SQS queue, standard or FIFO, or a webhook that is signed after Standard Webhooks.'),
  url: text(/^https?:\/\//, urlAllowed, isPlainUrl).describe('URL of the queue or of the webhook.'),
  group: choice(['topic', 'subject']).prefault('topic').describe('What the events of one FIFO message group share.'),
  types: z.optional(z.array(text(/^[a-z_]+(?:\.[a-z_]+)?$/, typeAllowed), { error: 'a list of types of events' }).min(1, { error: 'a list of types of events' })).describe('Types or families of events; by default all.'),
  from: choice(['first', 'now']).prefault('first').describe('Where a new sink begins: with the first event that is kept, or with the next one.'),
}, { error: (issue) => (issue.code === 'invalid_type' ? 'a sink with kind and url' : undefined) });

const nameAllowed = 'a name of 1 to 40 of a-z, 0-9 and -';

/** All sinks, by name. */
export const sinksType = z
  .record(z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, { error: nameAllowed }), sinkType, { error: (issue) => (issue.code === 'invalid_key' ? nameAllowed : 'a map from names to sinks') })
  .refine((sinks) => Object.keys(sinks).length <= sinksMax, { error: `a map of at most ${sinksMax} sinks` })
  .register(notes, { ...noNote, isStructure: true });

/** The sinks in the order of their names. */
export function toSinks(given: z.output<typeof sinksType>): readonly Sink[] {
  return Object.entries(given)
    .map(([name, sink]): Sink => ({ name, kind: sink.kind, url: sink.url, group: sink.group, types: sink.types, from: sink.from }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

const accountAllowed = 'an AWS account id of 12 digits, in quotes where it begins with 0';

/** An account id; YAML takes one without quotes for a number. */
export const accountId = z
  .union([z.string().regex(/^\d{12}$/, { error: accountAllowed }), z.int({ error: accountAllowed }).min(100_000_000_000, { error: accountAllowed }).max(999_999_999_999, { error: accountAllowed })], { error: accountAllowed })
  .transform(String);

const placeAllowed = 's3://bucket or s3://bucket/prefix';

/** Buckets and prefixes. */
export const bucketPlaces = z
  .array(text(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:\/[^\0]*)?$/, placeAllowed), { error: `a list of ${placeAllowed}` })
  .max(placesMax, { error: `a list of at most ${placesMax} places` })
  .register(notes, { ...noNote, isStructure: true });

const topicAllowed = 'a topic, or * for all';

/** Topics, or all of them. */
export const topicList = z
  .array(text(/./, topicAllowed, (given) => given === '*' || topicPattern.test(given)), { error: 'a list of topics' })
  .register(notes, { ...noNote, isStructure: true });
