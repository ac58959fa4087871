/**
 * Events into an SQS queue, standard or FIFO, ten at a time. A batch may succeed in part: what failed is named, and only
 * that is sent again. A FIFO queue drops what it saw within five minutes, by a digest of `source` and `id`: an id alone is
 * one of an installation, and two of them may share a queue. Whoever consumes still has to drop repetitions by both.
 */
import { createHash } from 'node:crypto';
import { SendMessageBatchCommand, type BatchResultErrorEntry } from '@aws-sdk/client-sqs';
import type { Sink } from '../config/sinks.ts';
import { openSqsClient, queueError } from '../config/sqs.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { CloudEvent } from '../segments/event.ts';
import { segmentParts } from '../segments/segment.ts';
import type { Sender, SinkSettings, Undelivered } from './sinks.ts';

/** Entries of one SendMessageBatch (SQS API reference). */
const batchMax = 10;
/** Characters of a group id, and what they may be (SQS API reference). */
const idPattern = /^[\x21-\x7e]{1,128}$/;

/** Opens the sender of one queue. */
export function openQueueSender(sink: Sink, { sqs, timeoutMs }: Pick<SinkSettings, 'sqs' | 'timeoutMs'>): Sender {
  const client = openSqsClient({ queueUrl: sink.url, ...sqs, timeoutMs });
  const isFifo = new URL(sink.url).pathname.endsWith('.fifo');
  const sendBatch = async (events: readonly CloudEvent[]): Promise<readonly Undelivered[]> => {
    try {
      const reply = await client.send(new SendMessageBatchCommand({
        QueueUrl: sink.url,
        Entries: events.map((event, place) => ({
          Id: String(place),
          MessageBody: JSON.stringify(event),
          ...(isFifo ? { MessageDeduplicationId: deduplicationId(event), MessageGroupId: fitting(groupOf(event, sink.group)) } : {}),
        })),
      }));
      const failed = reply.Failed ?? [];
      // What is neither named as sent nor as failed counts as failed: it may be sent twice, but not be lost.
      const sent = new Set((reply.Successful ?? []).map(({ Id: id }) => id));
      return events.flatMap((event, place): Undelivered[] => (sent.has(String(place)) ? [] : [{ event, fault: entryError(failed.find(({ Id: id }) => id === String(place)), sink.url) }]));
    } catch (error) {
      const fault = queueError(error, sink.url, 'send events', 'sqs:SendMessage');
      return events.map((event) => ({ event, fault }));
    }
  };
  return {
    async send(events) {
      for (let from = 0; from < events.length; from += batchMax) {
        const failed = await sendBatch(events.slice(from, from + batchMax));
        const [first] = failed;
        // Behind a failure nothing more is sent, so that a queue with an order gets no later event of a group first.
        if (first) return [...failed, ...events.slice(from + batchMax).map((event) => ({ event, fault: first.fault }))];
      }
      return [];
    },
    close: () => client.destroy(),
  };
}

function entryError(entry: BatchResultErrorEntry | undefined, queueUrl: string): PlimsollError {
  return new PlimsollError('sink_unavailable', {
    message: `the queue did not take an event (${entry?.Code ?? 'no answer for it'})`,
    where: queueUrl,
    hint: entry?.SenderFault === true ? 'The queue calls it our fault: check its size limit and whether it is FIFO, as its name says.' : 'It is sent again by itself.',
  });
}

/** What the events of one message group share: the one topic that they are about, else their run. */
export function groupOf(event: CloudEvent, by: Sink['group']): string {
  if (by === 'subject') return event.subject;
  const { topic, topics, segment, run_key: run } = event.data;
  if (typeof topic === 'string') return topic;
  if (Array.isArray(topics) && topics.length === 1) return String(topics[0]);
  const ofSegment = typeof segment === 'string' ? segmentParts(segment)?.topic : undefined;
  return ofSegment ?? (typeof run === 'string' ? run : event.subject);
}

/** By what a FIFO queue tells a repetition: sha256 of source, newline and id, hex. A source has no newline, so no two events share one. */
function deduplicationId({ source, id }: CloudEvent): string {
  return digestOf(`${source}\n${id}`);
}

/** A group id that SQS takes; a longer one is stood for by its digest, which is as deterministic. */
function fitting(id: string): string {
  return idPattern.test(id) ? id : digestOf(id);
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
