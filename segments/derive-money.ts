/** What a run's archives have reserved and spent, and the sums that the run itself keeps. Pure. */
import { mergeSamples } from './calibration.ts';
import type { DerivedChunk } from './derive.ts';
import type { ArchiveDraft } from './derive-archive.ts';
import type { SealedChunkRange } from './journal.ts';
import { addUsage, noUsage, totalTokens, type RunKey, type Usage } from './segment.ts';

/** One account, tokens and micro-USD. */
export interface AccountSums {
  readonly tokensReserved: number;
  readonly tokensSpent: number;
  readonly microUsdReserved: number;
  readonly microUsdSpent: number;
  readonly usage: Usage;
  readonly overBound: number;
  /** When the work began that the runtime of its budget bounds, Unix ms: of a window that ends, all of it; of one that never
   *  ends, what has its reservations still, and undefined when nothing has. */
  readonly startedAtMs: number | undefined;
}

/** The earlier of two instants, of which either may be unknown. */
export function earlierOf(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
}

export interface RunSums {
  readonly succeeded: number;
  readonly deadLettered: number;
  readonly notSampled: number;
  readonly retried: number;
  readonly usage: Usage;
  readonly microUsd: number;
  readonly standardMicroUsd: number;
  readonly batches: number;
  readonly archivesInDoubt: number;
  readonly chunks: number;
  readonly chunksOpen: number;
}

/** Adds up what a run keeps: the outcomes that are settled, and its chunks. */
export function sumsOf(drafts: readonly ArchiveDraft[], chunks: readonly DerivedChunk[]): RunSums {
  const settled = drafts.flatMap((draft) => draft.outcome?.chunks ?? []);
  const sum = (of: (each: (typeof settled)[number]) => number): number => settled.reduce((total, each) => total + of(each), 0);
  return {
    succeeded: sum((each) => each.succeeded),
    deadLettered: sum((each) => each.deadLettered),
    retried: sum((each) => each.retried),
    notSampled: sum((each) => each.notSampled ?? 0),
    usage: settled.reduce((total, each) => addUsage(total, each.usage), noUsage),
    microUsd: sum((each) => each.microUsd),
    standardMicroUsd: sum((each) => each.standardMicroUsd),
    batches: drafts.filter((draft) => draft.record.batch !== '').length,
    archivesInDoubt: drafts.filter((draft) => draft.state === 'in_doubt').length,
    chunks: chunks.length,
    chunksOpen: chunks.filter((chunk) => chunk.state !== 'done').length,
  };
}

/** Adds up the accounts (B4). `joined`: as in {@link joinedBy}. */
export function addAccounts(drafts: readonly ArchiveDraft[], joined: JoinedRun): ReadonlyMap<string, AccountSums> {
  const accounts = new Map<string, AccountSums>();
  const add = (name: string, more: Partial<AccountSums>, openedAtMs: number): void => {
    // A runtime budget without a window bounds one stretch of work. With what was settled long ago in front of it, what goes on
    // would be late at once, and be canceled where the budget says so.
    const startedAtMs = more.tokensReserved === undefined && name.endsWith('@total') ? undefined : openedAtMs;
    const known = accounts.get(name) ?? { tokensReserved: 0, tokensSpent: 0, microUsdReserved: 0, microUsdSpent: 0, usage: noUsage, overBound: 0, startedAtMs };
    accounts.set(name, {
      tokensReserved: known.tokensReserved + (more.tokensReserved ?? 0),
      tokensSpent: known.tokensSpent + (more.tokensSpent ?? 0),
      microUsdReserved: known.microUsdReserved + (more.microUsdReserved ?? 0),
      microUsdSpent: known.microUsdSpent + (more.microUsdSpent ?? 0),
      usage: addUsage(known.usage, more.usage ?? noUsage),
      overBound: known.overBound + (more.overBound ?? 0),
      startedAtMs: earlierOf(known.startedAtMs, startedAtMs),
    });
  };
  for (const draft of drafts) {
    for (const [index, range] of draft.ranges.entries()) {
      const outcome = draft.outcome?.chunks[index];
      for (const name of [...accountsOf(range), ...joinedBy(range, joined)]) {
        if (outcome) add(name, { tokensSpent: totalTokens(outcome.usage), microUsdSpent: outcome.microUsd, usage: outcome.usage, overBound: outcome.overBound }, draft.openedAtMs);
        else {
          const estimate = range.estimated?.accounts.includes(name) ? range.estimated : undefined;
          add(name, { tokensReserved: estimate?.tokens ?? range.tokensMax, microUsdReserved: estimate?.microUsd ?? range.microUsdMax }, draft.openedAtMs);
        }
      }
    }
  }
  return accounts;
}

/** What the settled rows of a run consumed of their bounds, by topic and model. */
export function calibrationsOf(drafts: readonly ArchiveDraft[]): ReturnType<typeof mergeSamples> {
  const chunks = drafts.flatMap((draft) => draft.outcome?.chunks ?? []);
  return mergeSamples(chunks.flatMap((chunk) => (chunk.samples ?? []).map((sample) => ({ topic: chunk.segment.split('.')[0] ?? '', sample }))));
}

/** Whose budgets have a run as their window, such as `client:etl`. */
export type RunTargets = Pick<ReadonlySet<string>, 'has'>;

/** A run, and the targets of budgets whose window is a run: those count all that the run has packed, also before they were set. */
export interface JoinedRun {
  readonly run: RunKey;
  readonly targets: RunTargets;
}

type Packed = Pick<SealedChunkRange, 'accounts' | 'segment' | 'client'>;

/** Where a reservation stands since its admission; documents of before it was noted name no windows. */
export function accountsOf({ accounts, segment, client }: Packed): readonly string[] {
  return accounts ?? targetsOf(segment, client).map((target) => `${target}@total`);
}

/** Where else it stands, because a budget was set later. What is never sent stands nowhere. */
export function joinedBy(packed: Packed, { run, targets }: JoinedRun): readonly string[] {
  const known = accountsOf(packed);
  if (known.length === 0) return [];
  const names = targetsOf(packed.segment, packed.client).filter((target) => targets.has(target)).map((target) => `${target}@run=${run}`);
  return names.filter((name) => !known.includes(name));
}

function targetsOf(segment: string, client: string): readonly string[] {
  return ['all', `client:${client}`, `topic:${segment.split('.')[0] ?? ''}`, `segment:${segment}`];
}
