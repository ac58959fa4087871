/**
 * The document queue: messages are received one by one, kept invisible while they are worked on, and removed at the end.
 * A loop of our own rather than a library's: it is short, and when a message may be removed is the whole point of it.
 */
import { ChangeMessageVisibilityCommand, DeleteMessageCommand, ReceiveMessageCommand } from '@aws-sdk/client-sqs';
import { openSqsClient, queueError, type SqsSettings } from '../config/sqs.ts';

/** A message in hand. */
export interface QueueMessage {
  readonly id: string;
  readonly body: string;
  readonly receipt: string;
  /** How often it was received, this time included. */
  readonly receives: number;
}

export interface DocumentQueue {
  readonly url: string;
  /** The next message, or undefined when none came within the poll. @throws PlimsollError `queue_unavailable` */
  receive(signal: AbortSignal): Promise<QueueMessage | undefined>;
  /** Keeps a message invisible for this long from now on; 0 shows it at once. */
  extend(message: QueueMessage, forMs: number): Promise<void>;
  remove(message: QueueMessage): Promise<void>;
  close(): void;
}

/** The longest that SQS lets a receive wait, s (SQS developer guide, long polling). */
export const pollSeconds = 20;

/** Opens the queue. `waitSeconds` is the length of a poll. */
export function openDocumentQueue(settings: SqsSettings, visibilityMs: number, waitSeconds = pollSeconds): DocumentQueue {
  const client = openSqsClient({ ...settings, timeoutMs: settings.timeoutMs + waitSeconds * 1000 });
  const { queueUrl } = settings;
  const seconds = (ms: number): number => Math.ceil(ms / 1000);
  return {
    url: queueUrl,
    async receive(signal) {
      try {
        const { Messages: messages = [] } = await client.send(
          new ReceiveMessageCommand({
            QueueUrl: queueUrl, MaxNumberOfMessages: 1, WaitTimeSeconds: waitSeconds, VisibilityTimeout: seconds(visibilityMs),
            MessageSystemAttributeNames: ['ApproximateReceiveCount'],
          }),
          { abortSignal: signal },
        );
        const [message] = messages;
        if (!message) return undefined;
        return { id: message.MessageId ?? '', body: message.Body ?? '', receipt: message.ReceiptHandle ?? '', receives: Number(message.Attributes?.ApproximateReceiveCount ?? 1) };
      } catch (error) {
        if (signal.aborted) return undefined;
        throw queueError(error, queueUrl, 'receive', 'sqs:ReceiveMessage');
      }
    },
    async extend(message, forMs) {
      try {
        await client.send(new ChangeMessageVisibilityCommand({ QueueUrl: queueUrl, ReceiptHandle: message.receipt, VisibilityTimeout: seconds(forMs) }));
      } catch (error) {
        throw queueError(error, queueUrl, 'keep a message', 'sqs:ChangeMessageVisibility');
      }
    },
    async remove(message) {
      try {
        await client.send(new DeleteMessageCommand({ QueueUrl: queueUrl, ReceiptHandle: message.receipt }));
      } catch (error) {
        throw queueError(error, queueUrl, 'remove a message', 'sqs:DeleteMessage');
      }
    },
    close: () => client.destroy(),
  };
}
