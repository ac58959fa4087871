/**
 * The guard: nothing is posted on a ledger that has forgotten what the lake knows. A Redis that was flushed, restored
 * from an older copy, cut off with the power, or replaced by a replica that lagged, would give a paid archive a second
 * intent. The lake remembers every intent, every run and every start of a worker, so a ledger that knows less is behind.
 *
 * It owns: the comparison of ledger and lake, and what this process has seen of the ledger. The scripts own the gate: they
 * prepare and send an intent only on the server, generation and epoch that were compared here.
 *
 * Invariants
 *   U1  Before the first intent, and again whenever another server answers, every intent of the lake is known to the ledger.
 *   U2  A generation or an epoch other than the one seen at the start shuts the gate of this process for good.
 *   U3  Once one process has found the ledger behind, no process posts on it until it was rebuilt.
 *   U4  The lake is listed before the ledger is asked: what is written in between can only be known to the ledger.
 *   U5  What operators have said is carried out after each comparison and before the next intent: a word stands in the lake
 *       before the ledger knows it, so one that is missing there is no proof of a set-back, and still it holds (words.ts).
 */
import { PlimsollError } from '../errors.ts';
import { decodeJournal } from '../journal.ts';
import { generationKey, generationOf, generationPrefix, runIngestedKey } from '../lake.ts';
import { asRunKey, type IntentId, type RunKey } from '../segment.ts';
import type { Log, Now } from '../stage.ts';
import { putDocument, readDocument } from '../store/document.ts';
import type { Store } from '../store/store.ts';
import { behind, rebuildHint, rebuilt, standingFault } from './behind.ts';
import type { Ledger, LedgerProof } from './ledger.ts';
import type { StandingPort } from './standing.ts';

export interface GuardDependencies {
  readonly standing: StandingPort;
  readonly ledger: Pick<Ledger, 'readRun'>;
  readonly store: Store;
  /** Carries out the words of operators that the ledger does not know (U5). */
  readonly carryOutWords: () => Promise<void>;
  readonly now: Now;
  readonly log: Log;
}

export interface LedgerGuard {
  /** What an intent may be prepared on. @throws PlimsollError `ledger_behind` */
  prove(): Promise<LedgerProof>;
  /** Somebody met proof that the ledger has forgotten something; returns the error to raise (U3). */
  condemn(reason: string, where: string): Promise<PlimsollError>;
}

/** Compares ledger and lake, and counts one more start. @throws PlimsollError `ledger_behind` */
export async function openLedgerGuard(dependencies: GuardDependencies, owner: string): Promise<LedgerGuard> {
  const { standing, store, now, log } = dependencies;
  const condemn = async (reason: string, where: string): Promise<PlimsollError> => {
    if (await standing.markBehind(reason, now())) log({ level: 'error', event: 'ledger.behind', subject: where, detail: { reason, hint: rebuildHint } });
    return behind(reason, where);
  };
  const compare = async (): Promise<void> => {
    const gap = await findGap(dependencies);
    if (gap) throw await condemn(gap.reason, gap.where);
    await dependencies.carryOutWords();
  };
  const server = (await standing.read()).server;
  await compare();
  const generation = await standing.raiseGeneration(owner);
  try {
    await putDocument(store, generationKey(generation), { v: 1, generation, owner, server, startedAtMs: now() });
  } catch (error) {
    if (error instanceof PlimsollError && error.code === 'lake_conflict') throw await condemn('a generation that the lake has seen was given again', generationKey(generation));
    throw error;
  }
  const { epoch } = await standing.read();
  let proven: LedgerProof = { generation, epoch, server };
  return {
    condemn,
    async prove() {
      const found = await standing.read();
      if (found.epoch > proven.epoch) throw rebuilt();
      const fault = standingFault(found) ?? (found.generation < proven.generation || found.epoch < proven.epoch ? 'it is younger than it was when this process started' : undefined);
      if (fault !== undefined) throw found.isRecovering ? rebuilt() : await condemn(fault, 'standing');
      if (found.server === proven.server) return proven;
      log({ level: 'warn', event: 'ledger.server_changed', subject: found.server, detail: { before: proven.server } });
      await compare();
      proven = { ...proven, server: found.server };
      return proven;
    },
  };
}

/** What the lake knows and the ledger does not. */
export interface LedgerGap {
  readonly reason: string;
  readonly where: string;
}

/** Compares the ledger with the lake; undefined when the ledger knows everything that must be known (U1, U4). */
export async function findGap({ standing, ledger, store }: Omit<GuardDependencies, 'carryOutWords' | 'now' | 'log'>): Promise<LedgerGap | undefined> {
  const newest = await newestGeneration(store);
  const intents = await keysUnder(store, 'journal/intents/');
  const runs = await openedRuns(store);
  const found = await standing.read();
  const fault = standingFault(found);
  if (fault !== undefined) return { reason: fault, where: 'standing' };
  if (found.generation < newest) return { reason: `the lake has seen generation ${newest}, the ledger is at ${found.generation}`, where: generationKey(newest) };
  const states = await standing.readIntents(intents.map(intentOf));
  const forgotten = states.findIndex((state) => state === undefined);
  if (forgotten >= 0) return { reason: 'an intent of the lake is not known to the ledger', where: intents[forgotten] ?? '' };
  for (const run of runs) {
    const gap = await gapOfRun({ standing, ledger, store }, run);
    if (gap) return gap;
  }
  return undefined;
}

async function gapOfRun({ standing, ledger, store }: Omit<GuardDependencies, 'carryOutWords' | 'now' | 'log'>, run: RunKey): Promise<LedgerGap | undefined> {
  const record = (await standing.knowsRun(run)) ? await ledger.readRun(run) : undefined;
  if (record && record.state !== 'ingesting') return undefined;
  const ingested = await readDocument(store, runIngestedKey(run));
  const ingestion = ingested === undefined ? undefined : decodeJournal('ingestion', runIngestedKey(run), ingested);
  // A producer that was killed on its way has opened a run that nobody else knows, and it has spooled nothing yet.
  if (!record) {
    const isBegun = ingestion !== undefined || (await firstKey(store, `spool/${run}/`)) !== undefined;
    return isBegun ? { reason: 'a run of the lake is not known to the ledger', where: `run ${run}` } : undefined;
  }
  // Every chunk is registered before the end of an ingest is written down.
  if (ingestion === undefined || record.accepted === ingestion.accepted) return undefined;
  return { reason: `the ledger knows ${record.accepted} of the ${ingestion.accepted} prompts of a run that was read to its end`, where: `run ${run}` };
}

/** The highest generation that the lake has seen; 0: none. */
export async function newestGeneration(store: Store): Promise<number> {
  const key = await firstKey(store, generationPrefix);
  return key === undefined ? 0 : (generationOf(key) ?? 0);
}

async function firstKey(store: Store, prefix: string): Promise<string | undefined> {
  for await (const { key } of store.list(prefix)) return key;
  return undefined;
}

async function keysUnder(store: Store, prefix: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

function intentOf(key: string): IntentId {
  return key.slice(key.lastIndexOf('/') + 1, -'.json'.length) as IntentId;
}

/** Every run that was ever opened in this lake. */
export async function openedRuns(store: Store): Promise<readonly RunKey[]> {
  return await runsWith(store, 'open');
}

/** Every run of which the journal has a document of this name. */
export async function runsWith(store: Store, name: 'open' | 'canceled'): Promise<readonly RunKey[]> {
  const runs: RunKey[] = [];
  for (const key of await keysUnder(store, 'journal/runs/')) {
    const [run = '', document, ...deeper] = key.slice('journal/runs/'.length).split('/');
    const known = document === `${name}.json` && deeper.length === 0 ? asRunKey(run) : undefined;
    if (known) runs.push(known);
  }
  return runs;
}
