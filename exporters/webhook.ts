/**
 * Events to a webhook, signed after Standard Webhooks (its specification, 2023-12): the signature covers id, time and
 * body, so a receiver can prove who sent it and drop what is old or came before.
 *
 *   webhook-id: nightly-2026-11-21:completed
 *   webhook-timestamp: 1795000000
 *   webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
 */
import { createHmac } from 'node:crypto';
import type { Sink } from '../config/sinks.ts';
import { errnoOf, PlimsollError } from '../segments/errors.ts';
import type { CloudEvent } from '../segments/event.ts';
import type { Sender, SinkSettings, Undelivered } from './sinks.ts';

const secretPrefix = 'whsec_';
/** The specification asks for 24 to 64 bytes. */
const secretBytesMin = 24;

/** Opens the sender of one webhook. @throws PlimsollError `config_invalid` without a usable secret */
export function openWebhookSender(sink: Sink, { webhookSecret, timeoutMs, now }: Omit<SinkSettings, 'sqs'>): Sender {
  const secret = secretOf(webhookSecret, sink);
  const post = async (event: CloudEvent): Promise<PlimsollError | undefined> => {
    const body = JSON.stringify(event);
    try {
      const reply = await fetch(sink.url, {
        method: 'POST',
        headers: { 'content-type': 'application/cloudevents+json; charset=utf-8', ...signatureHeaders(secret, event.id, Math.floor(now() / 1000), body) },
        body,
        // The address is configured; a reply must not lead elsewhere.
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      });
      await reply.body?.cancel();
      return reply.ok ? undefined : refused(sink, `it answered ${reply.status}`);
    } catch (error) {
      return refused(sink, `no answer came (${reasonOf(error)})`, error);
    }
  };
  return {
    async send(events) {
      for (const [place, event] of events.entries()) {
        const fault = await post(event);
        // In order: what follows waits with it.
        if (fault) return events.slice(place).map((each): Undelivered => ({ event: each, fault }));
      }
      return [];
    },
    close: () => undefined,
  };
}

/** The three headers of a signed delivery. `timestamp` is in Unix seconds. */
export function signatureHeaders(secret: Buffer, id: string, timestamp: number, body: string): Readonly<Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>> {
  const signature = createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': `v1,${signature}` };
}

function secretOf(text: string | undefined, sink: Sink): Buffer {
  const bytes = Buffer.from((text ?? '').replace(secretPrefix, ''), 'base64');
  if (bytes.length >= secretBytesMin) return bytes;
  throw new PlimsollError('config_invalid', {
    message: text === undefined ? `the webhook ${sink.name} has no secret to sign with` : `the secret of webhooks has ${bytes.length} bytes, at least ${secretBytesMin} are needed`,
    where: 'events.webhookSecret',
    hint: 'Set PLIMSOLL_EVENTS__WEBHOOK_SECRET (or …_FILE) to whsec_ and 24 to 64 random bytes in base64: echo "whsec_$(openssl rand -base64 32)"',
  });
}

function refused({ name, url }: Sink, what: string, cause?: unknown): PlimsollError {
  return new PlimsollError('sink_unavailable', { message: `the webhook ${name} did not take an event: ${what}`, where: new URL(url).origin, hint: 'It is sent again by itself, later and later.', cause });
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return errnoOf(cause) ?? (error instanceof Error ? error.name : 'unknown');
}
