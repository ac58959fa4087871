/**
 * What a message of the document queue says. S3's own events arrive bare, wrapped by SNS, or as events of EventBridge
 * (conventions.md 1 c). A message is a hint: it names objects, and nothing else in it is believed, least of all an
 * address to send anything to.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { PlimsollError } from '../segments/errors.ts';
import { asRunKey, type RunKey } from '../segments/segment.ts';

/** An object that S3 says was created. */
export interface Announced {
  readonly bucket: string;
  readonly key: string;
  /** Undefined where the bucket keeps no versions. */
  readonly version: string | undefined;
}

const record = z.object({
  eventVersion: z.string(),
  eventName: z.string(),
  s3: z.object({ bucket: z.object({ name: z.string() }), object: z.object({ key: z.string(), versionId: z.string().optional() }) }),
});
const bare = z.object({ Records: z.array(z.unknown()) });
const wrapped = z.object({ Type: z.literal('Notification'), Message: z.string() });
const bridged = z.object({
  source: z.literal('aws.s3'),
  'detail-type': z.string(),
  detail: z.object({ bucket: z.object({ name: z.string() }), object: z.object({ key: z.string(), 'version-id': z.string().optional() }) }),
});
const test = z.object({ Event: z.literal('s3:TestEvent') });

/** An SNS topic may forward what EventBridge sent it, and no further. */
const wrappingsMax = 2;
/** Bytes of a key (S3 user guide, "Naming Amazon S3 objects") and of a version id (S3 user guide, "How S3 Versioning works"). */
const nameBytesMax = 1_024;

/** The objects that a message announces; none when it is S3's test, or tells of something else than creation. @throws PlimsollError `notice_malformed` */
export function readNotice(body: string): readonly Announced[] {
  let text = body;
  for (let wrapping = 0; wrapping <= wrappingsMax; wrapping += 1) {
    const document = parse(text);
    const inner = wrapped.safeParse(document);
    if (!inner.success) return announcedIn(document);
    text = inner.data.Message;
  }
  throw malformed('it is wrapped too often');
}

function announcedIn(document: unknown): readonly Announced[] {
  if (test.safeParse(document).success) return [];
  const event = bridged.safeParse(document);
  if (event.success) {
    const { bucket, object } = event.data.detail;
    // EventBridge does not encode keys.
    return event.data['detail-type'] === 'Object Created' ? [announced(bucket.name, object.key, object['version-id'])] : [];
  }
  const list = bare.safeParse(document);
  if (!list.success) throw malformed('it has neither Records nor an event of aws.s3');
  return list.data.Records.flatMap((each) => {
    const read = record.safeParse(each);
    if (!read.success) throw malformed('a record of it does not have the shape of S3');
    const { eventVersion, eventName, s3 } = read.data;
    // Minor versions only add fields (S3 user guide, event message structure).
    if (!eventVersion.startsWith('2.')) throw malformed(`it has the version ${JSON.stringify(eventVersion.slice(0, 20))}, and only 2.x is known`);
    if (!/^(?:s3:)?ObjectCreated:/.test(eventName)) return [];
    return [announced(s3.bucket.name, decodeKey(s3.object.key), s3.object.versionId)];
  });
}

/** S3 encodes keys as a form does: `+` is a blank. */
function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '));
  } catch {
    throw malformed('a key of it is not encoded as S3 encodes keys');
  }
}

/** @throws PlimsollError `notice_malformed` */
function announced(bucket: string, key: string, versionId: string | undefined): Announced {
  const version = versionId === '' || versionId === 'null' ? undefined : versionId;
  if (!canName(key)) throw malformed('a key of it cannot be one of S3');
  if (version !== undefined && !canName(version)) throw malformed('a version of it cannot be one of S3');
  return { bucket, key, version };
}

/**
 * Whether S3 can have made a key or a version of it. Half a surrogate pair makes the client throw before it sends anything,
 * which looks like a fault of the moment: the message would be tried for ever.
 */
function canName(text: string): boolean {
  return text !== '' && !/\p{Surrogate}/u.test(text) && Buffer.byteLength(text) <= nameBytesMax;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed('it is not JSON');
  }
}

function malformed(why: string): PlimsollError {
  return new PlimsollError('notice_malformed', {
    message: `a message is no event of S3: ${why}`,
    hint: 'Only the event notifications of the bucket may feed this queue. The message is left to the dead-letter queue; read it there.',
  });
}

/**
 * The run of an object: the same bucket, key and etag give the same run, so an event that comes twice costs nothing
 * twice. The name shows where it came from.
 */
export function objectRunKey(bucket: string, key: string, etag: string): RunKey {
  const digest = createHash('sha256').update(`${bucket}\n${key}\n${etag}`).digest('hex').slice(0, 20);
  const name = (key.split('/').at(-1) ?? '').replaceAll(/[^A-Za-z0-9._=+-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '').slice(0, 60);
  const run = asRunKey(`${name === '' ? 'object' : name}-${digest}`);
  if (run === undefined) throw new Error('a run key of an object is legal by its making');
  return run;
}
