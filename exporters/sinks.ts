/**
 * The destinations of events. A sender takes a few events and says of each whether it arrived; when it is tried again is
 * for the relay to say. Addresses come from the configuration alone.
 */
import type { Sink } from '../config/sinks.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { CloudEvent } from '../segments/event.ts';
import { openWebhookSender } from './webhook.ts';

/** An event that did not arrive. */
export interface Undelivered {
  readonly event: CloudEvent;
  readonly fault: PlimsollError;
}

export interface Sender {
  /** Sends events in order; returns those that must be sent again. Never throws for a destination that refuses. */
  send(events: readonly CloudEvent[]): Promise<readonly Undelivered[]>;
  close(): void;
}

/** A sink that is open. */
export interface OpenSink {
  readonly sink: Sink;
  readonly sender: Sender;
}

export interface SinkSettings {
  readonly sqs: { readonly region: string | undefined; readonly endpoint: string | undefined };
  readonly webhookSecret: string | undefined;
  readonly timeoutMs: number;
  readonly now: () => number;
}

/** Opens the senders of all sinks. @throws PlimsollError `config_invalid` when a webhook has no secret to sign with */
export async function openSinks(sinks: readonly Sink[], settings: SinkSettings): Promise<readonly OpenSink[]> {
  return await Promise.all(sinks.map(async (sink) => ({ sink, sender: sink.kind === 'sqs' ? await openQueue(sink, settings) : openWebhookSender(sink, settings) })));
}

/** The SDK is loaded only by those who use it: it takes a while. */
async function openQueue(sink: Sink, settings: SinkSettings): Promise<Sender> {
  const { openQueueSender } = await import('./sqs.ts');
  return openQueueSender(sink, settings);
}

/** Whether a sink wants events of this type: `run` stands for all of `run.…`. */
export function isWanted({ types }: Pick<Sink, 'types'>, type: string): boolean {
  return types === undefined || types.some((each) => type === each || type.startsWith(`${each}.`));
}
