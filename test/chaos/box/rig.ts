/** What a seed is about: sizes, limits, operators, and which faults its world has. A function of the seed alone. */
import { entryOverheadBytes, envelopeBytes } from '../../../segments/pack.ts';
import type { PackLimits } from '../../../segments/ledger/ledger.ts';
import { createFaults, type CreateFault, type ProviderPlan } from './provider.ts';
import { seeded, type Random } from './random.ts';

export interface Rig {
  readonly rows: number;
  readonly limits: PackLimits;
  /** A limit on topic `a`; raised by an operator when nothing else moves any more. */
  readonly limit: { readonly tokens: number | undefined; readonly microUsd: number | undefined } | undefined;
  readonly isStrict: boolean;
  /** A process cannot see whether another one still lives, so doubts are left to a person. */
  readonly isRemote: boolean;
  /** Round in which an operator cancels the run; undefined: nobody does. */
  readonly cancelRound: number | undefined;
  /** Round in which an operator holds the run, and for how many rounds. */
  readonly hold: { readonly round: number; readonly rounds: number } | undefined;
  /** Rows must be answered within this time; undefined: whenever. */
  readonly deadlineMs: number | undefined;
  readonly faultsMax: number;
  readonly plan: Omit<ProviderPlan, 'createFault'> & { readonly createFaultRate: number; readonly createFaults: readonly CreateFault[] };
}

/** What the poisoned row says; the provider refuses every batch that holds it. */
export const poisonText = 'poison';

/** The rig of a seed. */
export function rigOf(seed: number): Rig {
  const random = seeded(seed * 31 + 3);
  const rows = random.chance(0.15) ? 12 + random.int(20) : 2 + random.int(11);
  const isDownloadBadForEver = random.chance(0.05);
  return {
    rows,
    limits: { bytesMax: 1_000 + random.int(5_000), rowsMax: 3 + random.int(14), entryOverheadBytes, envelopeBytes, fullPermille: 985, lingerMs: 60_000 },
    limit: random.chance(0.4) ? limitOf(random) : undefined,
    isStrict: random.chance(0.12),
    isRemote: random.chance(0.2),
    cancelRound: random.chance(0.12) ? random.int(14) : undefined,
    hold: random.chance(0.1) ? { round: random.int(6), rounds: 1 + random.int(6) } : undefined,
    deadlineMs: random.chance(0.15) ? 4_000 + random.int(20_000) : undefined,
    faultsMax: random.int(9),
    plan: {
      createFaultRate: 0.2,
      createFaults: random.chance(0.3) ? ['reply_lost', 'late', 'swallowed'] : createFaults,
      erroredRate: random.chance(0.3) ? 0.25 : 0,
      expiredRate: random.chance(0.3) ? 0.25 : 0,
      canceledRate: random.chance(0.15) ? 0.5 : 0,
      accountFaultRate: random.chance(0.08) ? 0.6 : 0,
      badDownloadRate: isDownloadBadForEver ? 0.5 : random.chance(0.3) ? 0.4 : 0,
      isDownloadBadForEver,
      batchMs: 2_000 + random.int(12_000),
      strangerRate: random.chance(0.5) ? 0.8 : 0,
      partialListRate: random.chance(0.1) ? 0.3 : 0,
      poison: random.chance(0.12) ? { text: poisonText, status: random.chance(0.5) ? 400 : 413 } : undefined,
    },
  };
}

function limitOf(random: Random): NonNullable<Rig['limit']> {
  const tokens = 500 + random.int(3_000);
  return random.chance(0.7) ? { tokens, microUsd: undefined } : { tokens: undefined, microUsd: Math.floor(tokens / 2) };
}
