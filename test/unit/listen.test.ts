import { describe, expect, it } from 'vitest';
import { listen } from '../../producers/listen.ts';
import type { QueueMessage } from '../../producers/sqs.ts';
import { PlimsollError } from '../../segments/errors.ts';

/** Announces these keys in the bucket `docs`, one message each, to a listener of these places, until the queue is empty. */
async function announce(keys: readonly string[], sources: readonly string[]) {
  const waiting = keys.map((key): QueueMessage => ({
    id: key, receipt: key, receives: 1,
    body: JSON.stringify({ source: 'aws.s3', 'detail-type': 'Object Created', detail: { bucket: { name: 'docs' }, object: { key } } }),
  }));
  const seen = { removed: [] as string[], left: [] as string[], looks: 0, events: [] as string[] };
  await listen({
    queue: {
      url: 'queue',
      receive: async () => waiting.shift(),
      extend: async ({ id }) => void seen.left.push(id),
      remove: async ({ id }) => void seen.removed.push(id),
      close: () => undefined,
    },
    sources,
    accessOf: () => {
      seen.looks += 1;
      throw new PlimsollError('source_damaged', { message: 'the object was replaced' });
    },
    ingest: () => Promise.reject(new Error('nothing was looked at, so nothing is taken in')),
    lakeUri: 'file:///lake', visibilityMs: 60_000, againMs: 30_000, concurrency: 1, untilEmpty: true,
    log: ({ event }) => void seen.events.push(event),
    signal: new AbortController().signal,
  });
  return seen;
}

describe('a listener', () => {
  it('removes messages of what a prefix as a source hides, and looks at nothing of it (L4)', async () => {
    const keys = ['in/_temporary/0/x.jsonl', 'in/_SUCCESS', 'in/day=1/.x.jsonl.part', 'in/folder/'];
    const expected = { removed: keys, left: [], looks: 0, events: ['document.hidden', 'document.hidden', 'document.hidden'] };
    for (const place of ['s3://docs/in/', 's3://docs/in', 's3://docs']) expect(await announce(keys, [place])).toEqual(expected);
  });

  it('looks at what is hidden only above its place, or below another place alone', async () => {
    const keys = ['_landing/x.jsonl', '_landing/.y/z.jsonl'];
    expect(await announce(keys, ['s3://docs/', 's3://docs/_landing/', 's3://docs/_landing/.y'])).toMatchObject({ removed: [], left: keys, looks: 2 });
  });

  it('leaves messages of what is below none of its places', async () => {
    expect(await announce(['input/x.jsonl', '_SUCCESS'], ['s3://docs/in', 's3://other/'])).toMatchObject({ removed: [], left: ['input/x.jsonl', '_SUCCESS'], looks: 0 });
  });
});
