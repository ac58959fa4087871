/**
 * Measures what clients hand in, before it is spooled, and turns aside what is over their tiers.
 *
 * It owns the prompts that wait for their measurement; the ledger owns the minutes and days of the clients and decides from
 * which row on a client is over; `ingest.ts` owns what becomes of a row after that. Prompts of clients without a tier do not
 * wait: they go on at once and are counted a little later, while the source is read on.
 *
 * Invariants
 *   E1  A row goes into the same segment however often its run is taken up: from which row on a client is over is decided
 *       once, in the ledger, and stands in the lake before the first row is spooled under it. Rows that were durable
 *       before it was decided are never turned aside later.
 *   E2  A row is measured once: the ledger knows the last one, and rows that are durable are measured already.
 *   E3  Rows leave in the order of the source, those that are refused included: the rejects file depends on it.
 *   E4  At most `rowsMax` rows and `heldBytesMax` bytes wait, plus one row.
 */
import type { Ledger, MeasuredClient, MeasuredPart } from '../segments/ledger/ledger.ts';
import { PlimsollError } from '../segments/errors.ts';
import { deferralKey } from '../segments/lake.ts';
import { quotaRates, tierOf, type ClientTally, type DeferredPart, type Deferral, type Terms, type Tier } from '../segments/quota.ts';
import { segmentName, segmentParts, type Prompt, type RunKey, type SegmentName } from '../segments/segment.ts';
import { readDeferrals } from '../segments/store/evidence.ts';
import type { Store } from '../segments/store/store.ts';
import { fault, quoted } from './faults.ts';
import type { Fault } from './faults.ts';
import { putDocument } from './journal.ts';
import type { Line } from './lines.ts';

/** A prompt that its line was accepted as. */
export interface Accepted {
  readonly prompt: Prompt;
  readonly segment: SegmentName;
  readonly isGeoPinned: boolean;
  /** As in `Verdict`. */
  readonly paramsSha?: string | undefined;
}

export interface AdmissionSettings {
  readonly run: RunKey;
  readonly terms: Terms | undefined;
  readonly ledger: Pick<Ledger, 'measureClients'>;
  readonly store: Store;
  /** Last durable row of each lane, `segment|client` or `segment|client|prefix`, as the ledger had it when the run was taken up. */
  readonly highWater: ReadonlyMap<string, number>;
  /** What was decided before. */
  readonly deferrals: readonly Deferral[];
  /** What clients with tiers have handed in with what is not read again. */
  readonly tallies: Readonly<Record<string, ClientTally>>;
  readonly now: () => number;
  readonly spool: (accepted: Accepted) => void;
  /** Takes back a line that was accepted. @throws PlimsollError `input_rejected` */
  readonly refuse: (line: Line, found: Fault) => Promise<void>;
  /** Called before the first prompts of clients are measured. */
  readonly meet: (clients: readonly string[]) => Promise<void>;
}

/** Rows of one measurement: some tens of milliseconds of reading. They are sent as one sum for each client. */
const rowsMax = 1_000;
/** Bytes of prompts that wait for it. */
const heldBytesMax = 4_000_000;

/** A client within one run. */
interface Client {
  readonly tier: { readonly name: string; readonly tier: Tier } | undefined;
  /** Whether its prompts wait until they are measured. */
  readonly isWaiting: boolean;
  readonly floorRow: number;
  deferral: Deferral | undefined;
  /** Whether the lake has the deferral. */
  isJournaled: boolean;
  isMet: boolean;
  tally: ClientTally;
  rows: (readonly [row: number, tokens: number, contextTokens: number])[];
}

const noTally: ClientTally = { requests: 0, tokens: 0, requestsOver: 0, tokensOver: 0 };

export class Admission {
  readonly #settings: AdmissionSettings;
  readonly #clients = new Map<string, Client>();
  /** Clients with rows that were not measured yet. */
  #unmeasured = new Set<string>();
  #rows = 0;
  #held: { readonly line: Line; readonly accepted: Accepted; readonly tokens: number }[] = [];
  #heldBytes = 0;
  /** Of those, how many a tier may refuse. */
  #refusable = 0;
  readonly #floors = new Map<string, number>();
  #counting: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;

  constructor(settings: AdmissionSettings) {
    this.#settings = settings;
    for (const [lane, row] of settings.highWater) {
      const client = lane.split('|')[1] ?? '';
      this.#floors.set(client, Math.max(this.#floors.get(client) ?? 0, row));
    }
    // What was deferred is told at the end, also when none of its rows is read again.
    for (const { client } of settings.deferrals) this.#clientOf(client);
  }

  /** Whether a line that waits may still be refused, so that a line behind it has to wait with it (E3). */
  get mayRefuse(): boolean {
    return this.#refusable > 0;
  }

  /** What was deferred, by the names of the clients, once `flush` has returned. */
  get deferred(): readonly DeferredPart[] {
    const found = [...this.#clients.values()].flatMap(({ deferral, tally }) => (deferral ? [{ ...deferral, ...tally }] : []));
    return found.sort((a, b) => (a.client < b.client ? -1 : 1));
  }

  /** What clients with tiers have handed in so far, once `flush` has returned. */
  get tallies(): Readonly<Record<string, ClientTally>> {
    const found = [...this.#clients].filter(([, { tier }]) => tier !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
    return { ...this.#settings.tallies, ...Object.fromEntries(found.map(([client, { tally }]) => [client, tally])) };
  }

  /** Takes a prompt. Returns a promise where the reader has to wait. @throws whatever a measurement failed with */
  take(line: Line, accepted: Accepted, tokens: number, contextTokens: number): Promise<void> | undefined {
    const { prompt } = accepted;
    const client = this.#clientOf(prompt.client);
    client.rows.push([line.row, tokens, contextTokens]);
    this.#unmeasured.add(prompt.client);
    this.#rows += 1;
    if (!client.isWaiting) {
      this.#note(client, line.row, tokens);
      this.#settings.spool(accepted);
    } else {
      const isRefusable = client.tier?.tier.over === 'refuse';
      // What the line lies in is used again as soon as the next one is read.
      const kept = isRefusable ? Buffer.from(line.bytes) : noBytes;
      this.#held.push({ line: { ...line, bytes: kept }, accepted: { ...accepted, prompt: { ...prompt, params: Buffer.from(prompt.params) } }, tokens });
      this.#heldBytes += prompt.params.length + kept.length;
      if (isRefusable) this.#refusable += 1;
    }
    if (this.#rows < rowsMax && this.#heldBytes < heldBytesMax) return undefined;
    return this.#held.length > 0 ? this.flush() : this.#count();
  }

  /** Measures everything that was taken, and lets go what waits. @throws whatever a measurement failed with */
  async flush(): Promise<void> {
    await this.#counting;
    if (this.#failure) throw this.#failure.error;
    await this.#measure();
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    this.#refusable = 0;
    for (const { line, accepted, tokens } of held) {
      const client = this.#clientOf(accepted.prompt.client);
      const isOver = this.#note(client, line.row, tokens);
      if (!isOver) this.#settings.spool(accepted);
      else if (client.deferral?.over === 'refuse') await this.#settings.refuse(line, overFault(client.deferral));
      else this.#settings.spool(turnedAside(accepted));
    }
  }

  /** Resolves when no measurement is under way, whatever became of it. */
  async settle(): Promise<void> {
    await this.#counting;
  }

  /** Measures in the background what nothing waits for; one measurement at a time. */
  async #count(): Promise<void> {
    await this.#counting;
    if (this.#failure) throw this.#failure.error;
    this.#counting = this.#measure().catch((error: unknown) => {
      this.#failure ??= { error };
    });
  }

  async #measure(): Promise<void> {
    const { run, ledger, now, meet } = this.#settings;
    const names = [...this.#unmeasured];
    const asked = names.map((name) => ({ name, client: this.#clientOf(name), rows: this.#clientOf(name).rows }));
    this.#unmeasured = new Set();
    this.#rows = 0;
    for (const { client } of asked) client.rows = [];
    const unmet = asked.filter(({ client }) => !client.isMet);
    if (unmet.length > 0) await meet(unmet.map(({ name }) => name));
    for (const { client } of unmet) client.isMet = true;
    const nowMs = now();
    const requestOf = (each: (typeof asked)[number], parts: readonly MeasuredPart[]): MeasuredClient =>
      ({ client: each.name, parts, floorRow: each.client.floorRow, tier: each.client.tier && measureOf(each.client.tier), known: each.client.deferral });
    const found = await ledger.measureClients({ run, clients: asked.map((each) => requestOf(each, sumOf(each.rows))), nowMs });
    // Row by row only where a row within the sum decides: that is once or twice in a run.
    const split = asked.filter(({ name }) => found.split.includes(name));
    const again = await ledger.measureClients({ run, clients: split.map((each) => requestOf(each, each.rows.map(([row, ...amounts]) => [row, row, 1, ...amounts]))), nowMs });
    for (const { name, client } of asked) {
      client.deferral ??= again.deferrals.get(name) ?? found.deferrals.get(name);
      if (client.deferral && !client.isJournaled) client.deferral = await this.#journal(client.deferral);
      client.isJournaled = client.deferral !== undefined;
    }
  }

  /** Writes down what was decided, before a row follows it (E1); what the lake has already holds. */
  async #journal(deferral: Deferral): Promise<Deferral> {
    const { run, store } = this.#settings;
    try {
      await putDocument(store, deferralKey(run, deferral.client), { v: 1, run, ...deferral });
      return deferral;
    } catch (error) {
      const known = error instanceof PlimsollError && error.code === 'lake_conflict' ? (await readDeferrals(store, run)).find(({ client }) => client === deferral.client) : undefined;
      if (!known) throw error;
      return known;
    }
  }

  /** Counts a row for the report of the run. Returns whether it is over the tier of its client. */
  #note(client: Client, row: number, tokens: number): boolean {
    const { tally, deferral } = client;
    const isOver = deferral !== undefined && row >= deferral.fromRow;
    client.tally = {
      requests: tally.requests + 1, tokens: tally.tokens + tokens,
      requestsOver: tally.requestsOver + (isOver ? 1 : 0), tokensOver: tally.tokensOver + (isOver ? tokens : 0),
    };
    return isOver;
  }

  #clientOf(name: string): Client {
    const known = this.#clients.get(name);
    if (known) return known;
    const { terms, deferrals, tallies } = this.#settings;
    const tier = tierOf(terms, name);
    const deferral = deferrals.find((each) => each.client === name);
    const client: Client = {
      tier, deferral, floorRow: this.#floors.get(name) ?? 0, isWaiting: tier !== undefined, isJournaled: deferral !== undefined, isMet: false, rows: [],
      tally: (Object.hasOwn(tallies, name) ? tallies[name] : undefined) ?? noTally,
    };
    this.#clients.set(name, client);
    return client;
  }
}

const noBytes = Buffer.alloc(0);

/** All rows of a client as one part. */
function sumOf(rows: Client['rows']): readonly MeasuredPart[] {
  const [first, last] = [rows[0], rows.at(-1)];
  if (!first || !last) return [];
  return [[first[0], last[0], rows.length, rows.reduce((sum, [, tokens]) => sum + tokens, 0), Math.max(...rows.map(([, , context]) => context))]];
}

function measureOf({ name, tier }: { readonly name: string; readonly tier: Tier }): NonNullable<MeasuredClient['tier']> {
  return { name, over: tier.over, limits: Object.fromEntries(quotaRates.map((rate) => [rate, tier[rate]])) };
}

/** The same prompt in the lane `fallback` of its topic and context class. */
function turnedAside(accepted: Accepted): Accepted {
  const parts = segmentParts(accepted.segment);
  if (!parts) return accepted;
  return { ...accepted, prompt: { ...accepted.prompt, priority: 'fallback' }, segment: segmentName(parts.topic, parts.contextClass, 'fallback') };
}

function overFault({ client, tier, limit, allowed, fromRow }: Deferral): Fault {
  return fault('quota_exceeded', `the client ${quoted(client)} is over its tier ${tier} from line ${fromRow} on: ${limit} is ${allowed}`);
}
