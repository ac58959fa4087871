/**
 * The envelope in which an event of the outbox leaves the house: CloudEvents 1.0. An event is a pointer, never a payload:
 * it says what happened and where the manifest is. It comes at least once; `source` and `id` together are the key by
 * which a consumer drops a repetition, and `sequence` shows a gap.
 *
 * One real event:
 *   {"specversion":"1.0","id":"run:nightly-2026-11-21:completed","source":"urn:plimsoll:prod",
 *    "type":"dev.plimsoll.run.completed.v1","subject":"nightly-2026-11-21","time":"2026-11-21T04:12:09.000Z",
 *    "datacontenttype":"application/json","sequence":"0000000000000042","data":{"run_key":"nightly-2026-11-21",…,
 *    "manifest_uri":"file:///lake/runs/dt=2026-11-21/nightly-2026-11-21/manifest.json"}}
 */
import type { OutboxEvent } from './ledger/ledger.ts';

/** A CloudEvents 1.0 envelope in JSON form. */
export interface CloudEvent {
  readonly specversion: '1.0';
  /** Deterministic: the same fact always has the same id. */
  readonly id: string;
  /** `urn:plimsoll:<installation tag>`. */
  readonly source: string;
  /** `dev.plimsoll.<subject>.<past verb>.v1`. */
  readonly type: string;
  /** The run key or archive that it is about. */
  readonly subject: string;
  /** ISO 8601, ms, UTC. */
  readonly time: string;
  readonly datacontenttype: 'application/json';
  /** Position in the outbox, without gaps, padded so that it also sorts as text; absent where the event is told again from
   *  the lake, which knows no positions. */
  readonly sequence?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const sequenceDigits = 16;

/** Puts an event into its envelope. `tag` names the installation. */
export function cloudEvent(event: Omit<OutboxEvent, 'sequence'> & Partial<Pick<OutboxEvent, 'sequence'>>, tag: string): CloudEvent {
  return {
    specversion: '1.0',
    id: event.id,
    source: `urn:plimsoll:${tag}`,
    type: `dev.plimsoll.${event.type}.v1`,
    subject: event.subject,
    time: new Date(event.timeMs).toISOString(),
    datacontenttype: 'application/json',
    ...(event.sequence === undefined ? {} : { sequence: String(event.sequence).padStart(sequenceDigits, '0') }),
    data: event.data,
  };
}
