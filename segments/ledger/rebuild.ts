/**
 * The rebuild: the ledger from the lake alone. It reads and derives everything first, so that a lake that contradicts
 * itself stops it before anything is forgotten; then it shuts the gate, writes, and opens the gate again.
 *
 * It owns the order of these steps. `store/evidence.ts` reads, `derive.ts` decides, `restore.ts` writes.
 *
 * Invariants
 *   H1  Nothing is forgotten before all runs are derived.
 *   H2  A rebuild that is killed at any moment leaves the gate shut; the next one begins again and ends the same.
 *   H3  Each rebuild is an epoch of its own, written into the lake before the first record: whoever worked on the ledger
 *       before finds another epoch and posts nothing.
 *   H4  What was acknowledged to anybody before the gate was shut is in the rebuilt ledger, whoever was at work meanwhile:
 *       a lake that has grown since it was read is read once more behind the gate.
 *   H5  What is in the lake before the last look of a rebuild is in the ledger, also where the ledger has refused it meanwhile.
 */
import { createHash } from 'node:crypto';
import { mergeSamples } from '../calibration.ts';
import { addAccounts, earlierOf, type RunTargets } from '../derive-money.ts';
import { deriveRun, type DerivedRun } from '../derive.ts';
import { PlimsollError } from '../errors.ts';
import { recoveryKey, recoveryPrefix } from '../lake.ts';
import { rowsOf } from '../replan-document.ts';
import { addUsage, type ArchiveId, type IntentId, type RunKey } from '../segment.ts';
import type { Now } from '../stage.ts';
import { putDocument } from '../store/document.ts';
import { fillSums, readBudgets, readDeferrals, readHolds, readIntentEvidence, readRunEvidence, readTiers } from '../store/evidence.ts';
import type { Store } from '../store/store.ts';
import { newestGeneration, openedRuns } from './guard.ts';
import { heldByOperator } from './doubts.ts';
import type { Budget, TierAssignment } from './ledger.ts';
import type { Restore } from './restore.ts';

/** How often the records are written, each time because the lake has grown since it was read: whoever is at work ends soon. */
const writesMax = 5;

export interface RebuildDependencies {
  readonly store: Store;
  readonly restore: Restore;
  /** Budgets of the configuration; those that operators have set are in the lake and come after them. */
  readonly budgets: readonly Budget[];
  /** The budgets that tiers give to clients; `assigned` is what operators have said last. */
  readonly tierBudgets?: (clients: readonly string[], assigned: readonly TierAssignment[]) => readonly Budget[];
  /** Rows of one archive, for runs whose cancellation goes on. */
  readonly archiveRowsMax: number;
  readonly owner: string;
  readonly now: Now;
  /** Told before each run is read. */
  readonly onRun: (run: RunKey, index: number, count: number) => void;
}

/** What was rebuilt; rows are prompts, amounts tokens and micro-USD. */
export interface RebuildReport {
  /** undefined: nothing was written. */
  readonly epoch: number | undefined;
  readonly runs: Readonly<Record<string, number>>;
  readonly prompts: number;
  readonly chunks: number;
  readonly rowsWaiting: number;
  readonly archives: Readonly<Record<string, number>>;
  readonly doubts: readonly { readonly run: RunKey; readonly archive: ArchiveId; readonly intent: IntentId | ''; readonly rows: number }[];
  /** Sealed archives that were never sent and whose rows others carry. */
  readonly superseded: readonly ArchiveId[];
  readonly budgets: number;
  readonly tokensReserved: number;
  readonly microUsdReserved: number;
  readonly tokensSpent: number;
  readonly microUsdSpent: number;
}

/** Reads the lake and derives every run. `runTargets`: as in `deriveRun`. @throws PlimsollError `ledger_corrupt`, `lake_missing` */
export async function deriveAll(store: Store, onRun: RebuildDependencies['onRun'], runTargets: RunTargets = new Set()): Promise<readonly DerivedRun[]> {
  const keys = await openedRuns(store);
  const shared = await readIntentEvidence(store);
  const runs: DerivedRun[] = [];
  for (const [index, key] of keys.entries()) {
    onRun(key, index, keys.length);
    const run = deriveRun(await readRunEvidence(store, key, shared), runTargets);
    runs.push({ ...run, chunks: await fillSums(store, run.chunks) });
  }
  // The oldest first, so that what waits keeps its turn.
  return runs.sort((a, b) => a.opening.openedAtMs - b.opening.openedAtMs);
}

/**
 * Rebuilds the ledger. Nobody else should work on it; who does is refused from the moment on in which the gate is shut.
 * @throws PlimsollError `ledger_behind` when another rebuild has begun meanwhile, `ledger_busy` when the lake does not stop
 *   growing, `ledger_corrupt`, `lake_missing`
 */
export async function rebuild(dependencies: RebuildDependencies): Promise<RebuildReport> {
  const { store, restore, owner, now } = dependencies;
  let looked = await contentsOf(store);
  let found = await readLake(dependencies);
  const epoch = await beginEpoch(store, owner, now);
  await restore.begin(epoch, owner, now());
  for (let writes = 1; ; writes += 1) {
    // What came into the lake until the gate was shut may have been acknowledged: it counts (H4).
    const contents = await contentsOf(store);
    if (contents !== looked) found = await readLake(dependencies);
    looked = contents;
    await write(dependencies, found);
    // What is written down and then refused by the ledger counts too, as long as the gate is shut: the word of an operator,
    // a sealed archive, the reply of a create, outcomes (H5).
    if ((await contentsOf(store)) === looked) break;
    if (writes === writesMax) throw new PlimsollError('ledger_busy', { message: `the lake has grown while the ledger was rebuilt, ${writesMax} times`, where: store.uri, hint: 'Somebody is at work on this lake. Stop all producers and workers, then run: plimsoll recover' });
  }
  const { runs, limits, generation } = found;
  const overBound = [...new Set(runs.flatMap((run) => run.overBound))].sort();
  await restore.end({ accounts: mergeAccounts(runs), overBound, calibrations: mergeSamples(runs.flatMap((run) => run.calibrations)), generation, epoch, nowMs: now() });
  return reportOf(runs, limits.length, epoch);
}

/** Forgets what Redis has and writes the records of everything that was found, but for the accounts. */
async function write({ restore, budgets, tierBudgets, archiveRowsMax, now }: RebuildDependencies, { limits, tiers, runs, holds, deferrals }: Lake): Promise<void> {
  const { ledger } = restore;
  await restore.forget();
  for (const { client, tier, ordinal, by, setAtMs } of tiers) await ledger.setTier({ client, tier, ordinal, by, setAtMs });
  const clients = [...new Set(runs.flatMap((run) => run.chunks.map(({ client }) => client)))].sort();
  for (const budget of [...(tierBudgets?.(clients, tiers) ?? []), ...budgets]) await ledger.setBudget(budget, 'config', now());
  for (const { setAtMs, ...budget } of limits) await ledger.setBudget({ ...budget, tokens: budget.tokens, microUsd: budget.microUsd }, 'operator', setAtMs);
  for (const run of runs) {
    await restore.run(run, now());
    // What waits of a canceled run is never sent, replanned or not.
    if (run.isCanceling) await ledger.cancelRun(run.opening.run, archiveRowsMax, now());
    else for (const { replan, segment, by, chunks } of run.replans) await ledger.replanChunks({ replan, segment, by, chunks: chunks.map(({ chunk }) => chunk), rows: rowsOf({ chunks }), rowsMax: archiveRowsMax, nowMs: now() });
  }
  // Nothing is measured here: only where the rows of a source that is still read have to go.
  for (const { run, deferrals: found } of deferrals) await ledger.measureClients({ run, clients: found.map((known) => ({ client: known.client, parts: [], floorRow: 0, tier: undefined, known })), nowMs: now() });
  for (const { target, setAtMs } of holds.targets) await ledger.hold(target, setAtMs);
  for (const intent of holds.doubts) await ledger.holdIntent(intent, heldByOperator, now());
}

interface Lake {
  readonly limits: Awaited<ReturnType<typeof readBudgets>>;
  readonly tiers: Awaited<ReturnType<typeof readTiers>>;
  readonly runs: readonly DerivedRun[];
  readonly holds: Awaited<ReturnType<typeof readHolds>>;
  /** Of runs whose source is still read. */
  readonly deferrals: readonly { readonly run: RunKey; readonly deferrals: Awaited<ReturnType<typeof readDeferrals>> }[];
  readonly generation: number;
}

/** Everything that the ledger is made of (H1). */
async function readLake({ store, budgets, tierBudgets, onRun }: RebuildDependencies): Promise<Lake> {
  const limits = await readBudgets(store);
  const tiers = await readTiers(store);
  const runs = await deriveAll(store, onRun, runTargetsOf([...budgets, ...limits], (client) => tierBudgets?.([client], tiers) ?? []));
  const holds = await readHolds(store);
  const reading = runs.filter((run) => run.state === 'ingesting').map(({ opening }) => opening.run);
  const deferrals = await Promise.all(reading.map(async (run) => ({ run, deferrals: await readDeferrals(store, run) })));
  return { limits, tiers, runs, holds, deferrals, generation: await newestGeneration(store) };
}

/** A digest of the names of everything that a rebuild reads; objects never change under their names. */
async function contentsOf(store: Store): Promise<string> {
  const hash = createHash('sha256');
  for (const prefix of ['journal/', 'spool/', 'runs/']) {
    for await (const { key } of store.list(prefix)) if (!key.startsWith(recoveryPrefix)) hash.update(`${key}\n`);
  }
  return hash.digest('hex');
}

/**
 * Whose budgets have a run as their window: what stands in the settings and what operators have set, and of each client
 * that has neither what its tier gives it. A client that is in its tier by default is known from its chunks alone.
 */
function runTargetsOf(given: readonly Pick<Budget, 'target' | 'window'>[], ofTier: (client: string) => readonly Budget[]): RunTargets {
  const windows = new Map(given.map(({ target, window }) => [target, window]));
  return {
    has(target) {
      const client = /^client:(.*)$/.exec(target)?.[1];
      if (client !== undefined && !windows.has(target)) windows.set(target, ofTier(client).find((budget) => budget.target === target)?.window ?? '');
      return windows.get(target) === 'run';
    },
  };
}

/** What a rebuild would do; nothing is written. */
export async function preview(dependencies: Pick<RebuildDependencies, 'store' | 'onRun'>): Promise<RebuildReport> {
  const runs = await deriveAll(dependencies.store, dependencies.onRun);
  return reportOf(runs, (await readBudgets(dependencies.store)).length, undefined);
}

/** Takes the next number of a rebuild (H3). */
async function beginEpoch(store: Store, owner: string, now: Now): Promise<number> {
  let newest = 0;
  for await (const { key } of store.list(recoveryPrefix)) newest = Math.max(newest, Number(/(\d+)\.json$/.exec(key)?.[1] ?? 0));
  const epoch = newest + 1;
  try {
    await putDocument(store, recoveryKey(epoch), { v: 1, epoch, owner, begunAtMs: now() });
    return epoch;
  } catch (error) {
    if (!(error instanceof PlimsollError) || error.code !== 'lake_conflict') throw error;
    throw new PlimsollError('ledger_behind', { message: 'another rebuild has begun at this moment', where: recoveryKey(epoch), hint: 'Let it finish; if it was killed, run plimsoll recover again.' });
  }
}

function mergeAccounts(runs: readonly DerivedRun[]): ReturnType<typeof addAccounts> {
  const merged = new Map(runs[0]?.accounts);
  for (const run of runs.slice(1)) {
    for (const [name, sums] of run.accounts) {
      const known = merged.get(name);
      if (!known) merged.set(name, sums);
      else {
        merged.set(name, {
          tokensReserved: known.tokensReserved + sums.tokensReserved,
          tokensSpent: known.tokensSpent + sums.tokensSpent,
          microUsdReserved: known.microUsdReserved + sums.microUsdReserved,
          microUsdSpent: known.microUsdSpent + sums.microUsdSpent,
          usage: addUsage(known.usage, sums.usage),
          overBound: known.overBound + sums.overBound,
          startedAtMs: earlierOf(known.startedAtMs, sums.startedAtMs),
        });
      }
    }
  }
  return merged;
}

function reportOf(runs: readonly DerivedRun[], budgets: number, epoch: number | undefined): RebuildReport {
  const archives = runs.flatMap((run) => run.archives.map((archive) => ({ run: run.opening.run, ...archive })));
  const all = mergeAccounts(runs).get('all@total');
  const chunks = runs.flatMap((run) => run.chunks);
  return {
    epoch,
    runs: countBy(runs.map((run) => (run.isCanceling ? 'canceling' : run.state))),
    prompts: runs.reduce((sum, run) => sum + run.accepted, 0),
    chunks: chunks.length,
    rowsWaiting: chunks.filter((chunk) => chunk.archive === '').reduce((sum, chunk) => sum + chunk.to - chunk.from + 1, 0),
    archives: countBy(archives.map((archive) => archive.state)),
    doubts: archives.filter((archive) => archive.state === 'in_doubt').map(({ run, archive, intent, rows }) => ({ run, archive, intent, rows })),
    superseded: runs.flatMap((run) => run.superseded),
    budgets,
    tokensReserved: all?.tokensReserved ?? 0,
    microUsdReserved: all?.microUsdReserved ?? 0,
    tokensSpent: all?.tokensSpent ?? 0,
    microUsdSpent: all?.microUsdSpent ?? 0,
  };
}

function countBy(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const name of [...names].sort()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
