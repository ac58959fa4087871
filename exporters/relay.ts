/**
 * The relay: reads the outbox and tells each sink what happened, in order, until it has taken it.
 *
 * It owns the position of each sink while it holds the claim. The ledger owns the outbox and the positions; a sink that
 * does not take an event holds up itself and nobody else.
 *
 * Invariants
 *   Y1  A position moves past an event only after the sink has taken it: every event arrives at least once.
 *   Y2  One relay at a time serves a sink, whatever the number of workers; a claim that is lost ends its round.
 *   Y3  Of a batch that was taken in part, only the rest is sent again, as long as this relay lives.
 *   Y4  A drain ends when what the outbox held at its beginning was told, by whomever, or its grace is over. A claim may
 *       belong to a process that was killed: whoever leaves because "somebody else has it" would leave events to nobody.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { PlimsollError } from '../segments/errors.ts';
import { cloudEvent, type CloudEvent } from '../segments/event.ts';
import type { Ledger, OutboxEvent } from '../segments/ledger/ledger.ts';
import type { Log, Now } from '../segments/stage.ts';
import { isWanted, type OpenSink } from './sinks.ts';

export interface RelayDependencies {
  readonly sinks: readonly OpenSink[];
  readonly ledger: Pick<Ledger, 'readEvents' | 'claimRelay' | 'advanceRelay'>;
  /** Tag of the installation, part of every event's source. */
  readonly tag: string;
  /** Names this process. */
  readonly owner: string;
  /** How long a claim outlives its relay; it is renewed while the relay lives. Shorter than a drain's grace, or the end of a process cannot wait for the claim of one that was killed. */
  readonly leaseMs: number;
  readonly now: Now;
  readonly log: Log;
}

export interface Relay {
  /** Sees to it that what is left is told, for at most `graceMs`, then stops (Y4). */
  drain(graceMs: number): Promise<void>;
}

const pageEvents = 100;
const idleMs = 400;
const restMs = 1_000;
const restMaxMs = 60_000;
/** Kept for readers of the outbox: `events tail`, `events replay`. */
const eventsKept = 100_000;
const sinkForgottenMs = 30 * 24 * 3_600_000;

/** Starts a loop per sink. */
export function startRelay(dependencies: RelayDependencies): Relay {
  const stop = new AbortController();
  const drain = new AbortController();
  const loops = dependencies.sinks.map(async (sink) => await new SinkLoop(dependencies, sink, stop.signal, drain.signal).run());
  return {
    async drain(graceMs) {
      drain.abort();
      const timer = setTimeout(() => stop.abort(), graceMs);
      await Promise.all(loops);
      clearTimeout(timer);
      for (const { sender } of dependencies.sinks) sender.close();
    },
  };
}

class SinkLoop {
  readonly #dependencies: RelayDependencies;
  readonly #open: OpenSink;
  readonly #stop: AbortSignal;
  /** Cuts short the wait for something new: what is left is told, then the loop ends. */
  readonly #drain: AbortSignal;
  /** Beyond the position: taken already, behind one that was not (Y3). */
  readonly #taken = new Set<number>();
  #faults = 0;

  constructor(dependencies: RelayDependencies, open: OpenSink, stop: AbortSignal, drain: AbortSignal) {
    this.#dependencies = dependencies;
    this.#open = open;
    this.#stop = stop;
    this.#drain = drain;
  }

  async run(): Promise<void> {
    const { ledger, owner, leaseMs, now, log } = this.#dependencies;
    const { sink } = this.#open;
    // What the outbox held when the drain began; known from the first look after it.
    let goal: number | undefined;
    while (!this.#stop.aborted) {
      // Asked before the ledger is: what it answers then holds everything that was there when the drain began.
      const isDraining = this.#drain.aborted;
      try {
        const claim = await ledger.claimRelay({ sink: sink.name, owner, leaseMs, isFromNow: sink.from === 'now', nowMs: now() });
        if (claim.isClaimed && (await this.#serve(claim.sequence))) return;
        if (isDraining) goal ??= claim.newest;
        if (goal !== undefined && !claim.isClaimed && claim.sequence >= goal) return;
        await this.#rest(claim.isClaimed || isDraining ? idleMs : Math.min(Math.max(claim.untilMs - now(), idleMs), leaseMs));
      } catch (error) {
        // The loop outlives whatever the ledger or the runtime throws; nothing was noted as told.
        log({ level: 'warn', event: 'relay.fault', subject: sink.name, detail: { code: error instanceof PlimsollError ? error.code : error instanceof Error ? error.name : 'unknown' } });
        await this.#rest(restMs);
      }
    }
  }

  /** Tells the sink page after page while it takes them and the claim holds (Y1, Y2). Returns whether the drain is done: all is told, or the sink does not take it. */
  async #serve(from: number): Promise<boolean> {
    const { ledger, leaseMs } = this.#dependencies;
    let position = from;
    // A sink may take its time; a renewal that fails is made good by the next one, or the claim is found lost below.
    const renewal = setInterval(() => void this.#advance(position, leaseMs).catch(() => undefined), leaseMs / 3);
    try {
      for (;;) {
        // A page that was read before the drain began may lack what the stages have written since.
        const isDraining = this.#drain.aborted;
        const page = await ledger.readEvents(position, pageEvents);
        position = await this.#tell(page, position);
        const isLast = this.#stop.aborted || (isDraining && (page.length < pageEvents || this.#faults > 0));
        if (isLast) clearInterval(renewal);
        if (!(await this.#advance(position, isLast ? 0 : leaseMs))) return false;
        if (isLast) return true;
        if (this.#faults > 0) await this.#wait(Math.min(restMs * 2 ** (this.#faults - 1), restMaxMs));
        else if (page.length < pageEvents) await this.#wait(idleMs);
      }
    } finally {
      clearInterval(renewal);
    }
  }

  /** Sends what the sink wants and has not taken; returns the position up to which nothing is left. */
  async #tell(page: readonly OutboxEvent[], position: number): Promise<number> {
    const { tag, log } = this.#dependencies;
    const { sink, sender } = this.#open;
    const due = page.filter((event) => isWanted(sink, event.type) && !this.#taken.has(event.sequence));
    const failed = due.length === 0 ? [] : await sender.send(due.map((event): CloudEvent => cloudEvent(event, tag)));
    const failedIds = new Set(failed.map(({ event }) => Number(event.sequence)));
    for (const { sequence } of due) if (!failedIds.has(sequence)) this.#taken.add(sequence);
    const [first] = failed;
    this.#faults = first ? this.#faults + 1 : 0;
    if (first) {
      const { fault } = first;
      log({ level: this.#faults > 5 ? 'error' : 'warn', event: 'event.refused', subject: first.event.id, detail: { sink: sink.name, code: fault.code, message: fault.message, hint: fault.hint, left: failed.length, tries: this.#faults } });
    }
    let reached = position;
    for (const { sequence } of page) {
      if (failedIds.has(sequence)) break;
      reached = sequence;
      this.#taken.delete(sequence);
    }
    return reached;
  }

  async #advance(sequence: number, leaseMs: number): Promise<boolean> {
    const { ledger, owner, now } = this.#dependencies;
    const isHeld = await ledger.advanceRelay({ sink: this.#open.sink.name, owner, sequence, leaseMs, eventsKept, sinkForgottenMs, nowMs: now() });
    // Another relay goes on from the noted position; what this one knows beyond it is not shared.
    if (!isHeld) this.#taken.clear();
    return isHeld;
  }

  /** Waits for something new; a drain ends the wait. */
  async #wait(forMs: number): Promise<void> {
    await pause(forMs, undefined, { signal: this.#drain }).catch(() => undefined);
  }

  /** Waits for the claim or the ledger; while it drains, only the end of the grace ends the wait. */
  async #rest(forMs: number): Promise<void> {
    await pause(forMs, undefined, { signal: this.#drain.aborted ? this.#stop : this.#drain }).catch(() => undefined);
  }
}
