/** What a seed is about: sizes, limits, operators, and which faults its world has. A function of the seed alone. */
import { entryOverheadBytes, envelopeBytes } from '../../../segments/pack.ts';
import type { PackLimits } from '../../../segments/ledger/ledger.ts';
import { aimOf, isMisplacedSeed, isReplanSeed, isZombieSeed, strictCancelEvery } from './fates.ts';
import { createFaults, type CreateFault, type ProviderPlan } from './provider.ts';
import { seeded, type Random } from './random.ts';
import { strangeListsOf } from './strange-lists.ts';

export interface Rig {
  readonly rows: number;
  readonly limits: PackLimits;
  /** A limit on topic `a`; raised by an operator when nothing else moves any more. */
  readonly limit: { readonly tokens: number | undefined; readonly microUsd: number | undefined } | undefined;
  readonly isStrict: boolean;
  /** A process cannot see whether another one still lives, so doubts are left to a person. */
  readonly isRemote: boolean;
  /** Nobody decides a doubt before it is held. */
  readonly decidesLate: boolean;
  /** Whoever decides doubts gives them up instead of waiting for proof. */
  readonly forgoes: boolean;
  /** Round in which an operator cancels the run; undefined: nobody does. */
  readonly cancelRound: number | undefined;
  /** Round in which an operator holds the run, and for how many rounds. */
  readonly hold: { readonly round: number; readonly rounds: number } | undefined;
  /** An operator replans what is held, once, down to this share of its rows; undefined: nobody does. `isRaised`: somebody
   *  else raises the limit between the decision and its execution, so that some of it waits in its queue by then. */
  readonly replan: { readonly percent: number; readonly isRaised: boolean } | undefined;
  /** For so long from the beginning this share of the spool's objects cannot be read; undefined: they can. */
  readonly misplaced: { readonly forMs: number; readonly share: number } | undefined;
  /** Rows must be answered within this time; undefined: whenever. */
  readonly deadlineMs: number | undefined;
  readonly faultsMax: number;
  /** How long a process is stopped at least: longer than its leases, sometimes longer than everybody's patience. */
  readonly stoppedMs: number;
  readonly plan: Omit<ProviderPlan, 'createFault'> & { readonly createFaultRate: number; readonly createFaults: readonly CreateFault[] };
}

/** What the poisoned row says; the provider refuses every batch that holds it. */
export const poisonText = 'poison';

/** What a world needs so that a call is made in it at all. */
const traits: Readonly<Record<string, { readonly rig?: Partial<Rig>; readonly plan?: Partial<Rig['plan']> }>> = {
  'ledger.absolveIntent': { plan: { createFaultRate: 0.7, createFaults: ['swallowed'], strangerRate: 0 } },
  'ledger.noteLook': { plan: { createFaultRate: 0.7, createFaults: ['swallowed', 'late'] } },
  'ledger.doubtIntent': { plan: { createFaultRate: 0.7, createFaults: ['swallowed', 'reply_lost', 'error_500'] } },
  'ledger.disownBatch': { plan: { createFaultRate: 0.8, createFaults: ['swallowed', 'late'], strangerRate: 1 } },
  'ledger.noteStranger': { plan: { createFaultRate: 0.8, createFaults: ['swallowed', 'late'], strangerRate: 1 } },
  'claude.firstResult': { plan: { createFaultRate: 0.8, createFaults: ['swallowed', 'late'], strangerRate: 1 } },
  'ledger.bookLeak': { plan: { createFaultRate: 0.6, createFaults: ['limited_but_made'] } },
  'ledger.holdIntent': { rig: { isRemote: true, decidesLate: true, cancelRound: undefined, faultsMax: 2 }, plan: { createFaultRate: 0, strangerRate: 0 } },
  'ledger.forgoIntent': { rig: { isRemote: true, forgoes: true, decidesLate: false, cancelRound: undefined, faultsMax: 2 }, plan: { createFaultRate: 0.7, createFaults: ['swallowed', 'late', 'reply_lost'], poison: undefined } },
  'ledger.rejectArchive': { plan: { poison: { text: poisonText, status: 413 } } },
  'ledger.halveArchive': { plan: { poison: { text: poisonText, status: 400 } } },
  'ledger.split': { plan: { poison: { text: poisonText, status: 400 } } },
  'ledger.stopOnBudget': { rig: { limit: { tokens: 400, microUsd: undefined } } },
  'ledger.refuseIntent': { plan: { createFaultRate: 0.7, createFaults: ['refused_429', 'refused_401', 'drop_mid'] } },
  'ledger.listHeld': { rig: { limit: { tokens: 400, microUsd: undefined }, replan: { percent: 30, isRaised: false }, cancelRound: undefined } },
  'ledger.replanChunks': { rig: { limit: { tokens: 400, microUsd: undefined }, replan: { percent: 30, isRaised: false }, cancelRound: undefined } },
  'claude.cancelBatch': { rig: { cancelRound: 6 }, plan: { batchMs: 20_000, createFaultRate: 0 } },
};

/** The rig of a seed. Where its lists are strange, there are doubts to look for in them. */
export function rigOf(seed: number): Rig {
  const rig = rigByStory(seed);
  const strangeLists = isZombieSeed(seed) ? undefined : strangeListsOf(seed);
  return strangeLists ? { ...rig, plan: { ...rig.plan, strangeLists, createFaultRate: 0.5, createFaults: ['reply_lost', 'swallowed'], ...(strangeLists.isSlow ? { batchMs: 100_000 } : {}) } } : rig;
}

function rigByStory(seed: number): Rig {
  const aim = aimOf(seed);
  const rig = rigByChance(seed);
  const trait = aim && traits[aim.call];
  const linger = aim?.call === 'ledger.closeArchive' ? { limits: { ...rig.limits, lingerMs: 500 } } : {};
  if (isZombieSeed(seed) && aim?.call === 'ledger.sendIntent') {
    const plan = { ...rig.plan, createFaultRate: 0, strangerRate: 0, poison: undefined };
    return { ...rig, stoppedMs: 70_000, isRemote: seed % 20 === 6, decidesLate: true, cancelRound: undefined, hold: undefined, limit: undefined, faultsMax: 1, plan };
  }
  if (isReplanSeed(seed)) {
    const percent = [0, 30, 60][seed % 3] ?? 0;
    return { ...rig, ...trait?.rig, replan: { percent, isRaised: seed % 2 === 0 }, limit: { tokens: 400, microUsd: undefined }, cancelRound: undefined, plan: { ...rig.plan, ...trait?.plan } };
  }
  if (isMisplacedSeed(seed)) {
    const random = seeded(seed * 53 + 7);
    // What an archive or a budget has no room for is cut, and that is what a packer reads a chunk for.
    const isLimited = random.chance(0.7);
    return {
      ...rig, ...trait?.rig, plan: { ...rig.plan, ...trait?.plan }, cancelRound: undefined,
      rows: 10 + random.int(14), limits: { ...rig.limits, rowsMax: 3 + random.int(3) },
      misplaced: { forMs: 4_000 + random.int(90_000), share: random.pick([0.4, 1, 1]) },
      ...(isLimited ? { limit: { tokens: 400, microUsd: undefined } } : {}),
    };
  }
  const strict = seed % strictCancelEvery === 0 ? { isStrict: true, cancelRound: 1 } : {};
  return { ...rig, ...trait?.rig, ...linger, ...strict, plan: { ...rig.plan, ...trait?.plan } };
}

function rigByChance(seed: number): Rig {
  const random = seeded(seed * 31 + 3);
  const rows = random.chance(0.15) ? 12 + random.int(20) : 2 + random.int(11);
  const isDownloadBadForEver = random.chance(0.05);
  return {
    rows,
    limits: { bytesMax: 1_000 + random.int(5_000), rowsMax: 3 + random.int(14), entryOverheadBytes, envelopeBytes, fullPermille: 985, lingerMs: 60_000 },
    limit: random.chance(0.4) ? limitOf(random) : undefined,
    isStrict: random.chance(0.12),
    isRemote: random.chance(0.2),
    decidesLate: random.chance(0.5),
    forgoes: seeded(seed * 17 + 9).chance(0.15),
    cancelRound: random.chance(0.12) ? random.int(14) : undefined,
    hold: random.chance(0.1) ? { round: random.int(6), rounds: 1 + random.int(6) } : undefined,
    replan: undefined,
    misplaced: undefined,
    deadlineMs: random.chance(0.15) ? 4_000 + random.int(20_000) : undefined,
    faultsMax: random.int(9),
    stoppedMs: 2_000,
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
      strangeLists: undefined,
      partialListRate: random.chance(0.1) ? 0.3 : 0,
      poison: random.chance(0.12) ? { text: poisonText, status: random.chance(0.5) ? 400 : 413 } : undefined,
    },
  };
}

function limitOf(random: Random): NonNullable<Rig['limit']> {
  const tokens = 500 + random.int(3_000);
  return random.chance(0.7) ? { tokens, microUsd: undefined } : { tokens: undefined, microUsd: Math.floor(tokens / 2) };
}
