/**
 * Schedules: what a seed plays. A schedule is data, so that it can be printed, stored, shrunk and played again; only the
 * drawing of one is random, and that is a function of the seed.
 */
import { operatorActs, operatorPoints, producerPoints, rarePoints, recoverPoints, workerPoints, type OperatorAct, type Strike, type StrikeKind } from './points.ts';
import type { BucketFault, BucketMishap } from './bucket.ts';
import { companions, doubtRule, lastingRules, listRules, providerRules, type ProviderRule } from './provider-rules.ts';
import type { RedisMishap } from './redis-proxy.ts';
import { seeded, type Random } from '../box/random.ts';

/** Who suffers a strike. `worker`: every worker that comes by, once. `recover` is the rebuild that follows a lost ledger, `operator` a person's commands. */
export type Slot = 'producer' | 'worker' | 'worker-1' | 'worker-2' | 'recover' | 'operator';

/** One fault of a schedule. `atMs` counts from the moment when the first worker works, or from the moment when the strike `whenStruck` struck. */
export type Fault =
  | { readonly id: string; readonly kind: 'strike'; readonly slot: Slot; readonly strike: Strike }
  | { readonly id: string; readonly kind: 'redis_network'; readonly script: string; readonly mishap: RedisMishap }
  /** `forMs`: until somebody rebuilds what was lost, or until there is memory again. `isUnattended`: before that nobody rebuilds
   *  whatever the processes say, and those that end are started again on the ledger as it is. `copiedWhenStruck`: the strike at
   *  which the copy is made that Redis is set back to. */
  | { readonly id: string; readonly kind: 'redis'; readonly what: RedisFault; readonly atMs: number; readonly forMs: number; readonly isUnattended?: true; readonly copiedWhenStruck?: string; readonly whenStruck?: string }
  /** The bucket that the lake stands in. */
  | { readonly id: string; readonly kind: 'bucket'; readonly mishap: BucketMishap }
  | { readonly id: string; readonly kind: 'provider'; readonly rule: ProviderRule }
  /** A batch of somebody else in the same workspace, with this many requests; `same`: as many as the archive that is being submitted. */
  | { readonly id: string; readonly kind: 'stranger'; readonly atMs: number; readonly rows: number | 'same'; readonly whenStruck?: string }
  | { readonly id: string; readonly kind: 'kill'; readonly slot: Slot; readonly atMs: number }
  /** A person's act; what is held stays so for `forMs`. */
  | { readonly id: string; readonly kind: 'operator'; readonly act: OperatorAct; readonly atMs: number; readonly forMs: number; readonly whenStruck?: string }
  /** A second producer of the same run at the same time. */
  | { readonly id: string; readonly kind: 'twin'; readonly atMs: number; readonly whenStruck?: string }
  /** The cable between the product and Redis. */
  | { readonly id: string; readonly kind: 'silence'; readonly atMs: number; readonly forMs: number };

export type LakePlace = 'folder' | 's3';

export type RedisFault = 'restart' | 'power_cut' | 'roll_back' | 'flush' | 'full';

export interface Schedule {
  readonly seed: number;
  readonly prompts: number;
  readonly runs: number;
  readonly workers: number;
  readonly batchMs: number;
  /** Limit of the topic `invoices`, in tokens; undefined: none. */
  readonly budgetTokens: number | undefined;
  /** Lines that are no prompts, among the prompts. */
  readonly badLines: number;
  readonly archiveBytes: number;
  readonly chunkBytes: number;
  /** How long after its start a part of the prompts is still wanted; undefined: for ever. */
  readonly deadlineMs?: number | undefined;
  /** How late a batch may come into the list, by the settings of the processes; undefined: as short as a seed likes it. */
  readonly landingWaitMs?: number | undefined;
  /** Whether the dead letters of the first run are sent once more in the end. */
  readonly isRetried?: boolean;
  /** Whether the files of the first run are taken away in the end and exported again (I11). */
  readonly isExportedAgain?: boolean;
  /** Where the lake is; a folder by default. */
  readonly lake?: LakePlace;
  readonly faults: readonly Fault[];
}

const strikeKinds: readonly (readonly [StrikeKind, weight: number])[] = [['kill', 10], ['fail', 5], ['stop', 2], ['delay', 3], ['full', 1], ['clock', 1], ['term', 1]];

/** What a rare point needs beside the provider's fault: a batch of a stranger with as many requests, which is bound in the place of one's own that was never made. */
const strangerBound = (id: string): readonly Fault[] => [
  { id: `${id}w`, kind: 'strike', slot: 'worker', strike: { id: `${id}w`, point: 'claude.create:sent', nth: 1, kind: 'delay', ms: 1 } },
  { id: `${id}b`, kind: 'stranger', atMs: 50, rows: 'same', whenStruck: `${id}w` },
];

const aimedScripts = [
  'add-chunk', 'flush-run', 'admit', 'close-archive', 'seal-archive', 'prepare-intent', 'arm-intent', 'send-intent', 'send-intent', 'accept-intent', 'accept-intent',
  'end-archive', 'settle', 'export-archive', 'complete-run', 'claim', 'release', 'flush-archives', 'doubt-intent', 'refuse-intent',
] as const;

/** Draws the schedule of a seed. With `aim` it strikes at that point, too, where it can. In a bucket the same happens, and the bucket has its faults beside it. */
export function drawSchedule(seed: number, aim?: string, lake: LakePlace = 'folder'): Schedule {
  const drawn = drawFaults(seed);
  // A generator of its own, so that what is drawn here changes nothing there.
  const random = seeded(seed * 37 + 11);
  const company: Fault[] = random.chance(0.3) ? drawOperator('o1', random.pick(usualActs), random) : [];
  const forgoing = seeded(seed * 43 + 3);
  const settings = { ...(random.chance(0.08) ? { deadlineMs: 1_000 + random.int(3_000) } : {}), isRetried: random.chance(0.15), isExportedAgain: random.chance(0.2) };
  const rare = seeded(seed * 47 + 9);
  const later = [...drawStrangeLists(seed), ...drawUnattended(seed, drawn.faults)];
  const faults = [
    ...drawn.faults, ...(rare.chance(0.06) ? [{ id: 'r1', kind: 'provider', rule: rare.pick(lastingRules) } as const] : []), ...company, ...(aim === undefined ? [] : drawAimed(aim, random)), ...(forgoing.chance(0.1) ? drawForgoing('g', forgoing.pick(forgoingActs), forgoing) : []),
    ...(lake === 's3' ? drawBucketFaults(seed) : []), ...later,
  ];
  return {
    ...drawn,
    ...settings,
    // A batch that has ended shows whose it is before anybody binds it by its count.
    ...(aim?.startsWith('ledger.disown-batch') === true ? { batchMs: 2_000 } : {}),
    ...(lake === 'folder' ? {} : { lake }),
    ...(faults.some((fault) => fault.kind === 'operator' && isForgoing(fault.act)) ? { landingWaitMs: 6_000 } : {}),
    faults,
  };
}

const isForgoing = (act: OperatorAct): boolean => act === 'forgo' || act === 'forgo_held';
const usualActs = operatorActs.filter((act) => !isForgoing(act));
const forgoingActs = operatorActs.filter(isForgoing);

/** A doubt that lasts long enough for a person to see it, and the person who gives it up. There is no batch, or one that is listed late. */
function drawForgoing(id: string, act: OperatorAct, random: Random, at?: string): Fault[] {
  const nth = 1 + random.int(2);
  const rules = random.chance(0.5) ? [{ fault: 'drop_after', nth }] : [{ fault: 'reply_lost', nth }, { fault: 'list_lag', seconds: 4 }];
  return [...rules.map((rule, index): Fault => ({ id: `${id}p${index}`, kind: 'provider', rule })), ...drawOperator(id, act, random, at)];
}

/** Lists of another form, and a doubt that is looked for in them. A generator of its own, as those below. */
function drawStrangeLists(seed: number): Fault[] {
  const random = seeded(seed * 67 + 21);
  if (!random.chance(0.07)) return [];
  const rules = [random.pick(listRules), ...(random.chance(0.3) ? [random.pick(listRules)] : []), doubtRule(random)];
  return rules.map((rule, index): Fault => ({ id: `l${index}`, kind: 'provider', rule }));
}

/** A Redis that is set back or flushed, and nobody rebuilds it for some seconds. Once in a seed is enough. */
function drawUnattended(seed: number, drawn: readonly Fault[]): Fault[] {
  const random = seeded(seed * 71 + 13);
  if (!random.chance(0.05) || drawn.some((fault) => fault.kind === 'redis' && (fault.what === 'roll_back' || fault.what === 'flush'))) return [];
  return [{ id: 'u1', kind: 'redis', what: random.pick(['roll_back', 'roll_back', 'flush'] as const), atMs: 600 + random.int(2_000), forMs: 2_000 + random.int(3_000), isUnattended: true }];
}

const bucketFaults: readonly BucketFault[] = ['lost_write', 'lost_write', 'contested', 'slow_down', 'slow_down', 'cut_read', 'cut_read', 'silent', 'denied'];

/** What the bucket of a seed does. A generator of its own, so that the rest is what it is with a folder. */
function drawBucketFaults(seed: number): Fault[] {
  const random = seeded(seed * 41 + 5);
  return Array.from({ length: 1 + random.int(3) }, (_, index): Fault => {
    const id = `b${index + 1}`;
    const what = random.pick(bucketFaults);
    // The client tries three times, the store six times as often.
    const times = { lost_write: 1, contested: 1 + random.int(3), slow_down: 1 + random.int(20), cut_read: 1 + random.int(3), silent: 1, denied: 1 + random.int(3) }[what];
    return { id, kind: 'bucket', mishap: { id, what, nth: 1 + random.int(what === 'cut_read' ? 40 : 90), times, afterBytes: random.int(300) } };
  });
}

/** An act, and often a strike at a point that it passes. */
function drawOperator(id: string, act: OperatorAct, random: Random, at?: string): Fault[] {
  const point = at ?? (random.chance(0.6) ? random.pick(operatorPoints[act]) : undefined);
  const strike: Fault[] = point === undefined ? [] : [{ id: `${id}s`, kind: 'strike', slot: 'operator', strike: { id: `${id}s`, point, nth: 1, kind: random.pick(['kill', 'kill', 'fail'] as const), ms: 0 } }];
  return [{ id, kind: 'operator', act, atMs: random.int(1_500), forMs: 200 + random.int(800) }, ...strike];
}

/** A strike at a named point, with what it takes for anybody to come by there. */
function drawAimed(point: string, random: Random): Fault[] {
  const act = operatorActs.find((each) => operatorPoints[each].includes(point));
  if (act !== undefined) return isForgoing(act) ? drawForgoing('a', act, random, point) : drawOperator('a', act, random, point);
  const slot: Slot = recoverPoints.includes(point) ? 'recover' : producerPoints.includes(point) && !workerPoints.includes(point) && !rarePoints.includes(point) ? 'producer' : 'worker';
  const strike: Fault = { id: 'a', kind: 'strike', slot, strike: { id: 'a', point, nth: 1, kind: random.pick(['kill', 'kill', 'fail', 'delay'] as const), ms: 0 } };
  if (slot === 'recover') return [{ id: 'ac', kind: 'redis', what: 'flush', atMs: moment(random), forMs: 200 }, strike];
  // Only a sender that died behind the gate has to be fenced: a call that ended has fenced itself.
  if (point.startsWith('ledger.fence-intent')) return [{ id: 'ac', kind: 'strike', slot: 'worker-1', strike: { id: 'ac', point: 'claude.create:sent', nth: 1, kind: 'kill', ms: 0 } }, strike];
  const company = companions[point.replace(/:.*/, '')];
  const strangers = point.startsWith('ledger.disown-batch') ? strangerBound('a') : [];
  return company === undefined ? [strike] : [{ id: 'ac', kind: 'provider', rule: company(random) }, ...strangers, strike];
}

function drawFaults(seed: number): Schedule {
  const random = seeded(seed * 31 + 7);
  const count = 1 + random.int(6);
  const faults: Fault[] = [];
  let isPoisoned = false;
  const workers = random.chance(0.5) ? 2 : 1;
  for (let index = 0; index < count; index += 1) {
    const fault = drawFault(`f${index + 1}`, random, workers);
    // A ledger that is set back twice within one seed needs a rebuild each time; once is slow enough.
    const company = fault.kind === 'strike' ? companions[fault.strike.point.replace(/:.*/, '')] : undefined;
    if (company !== undefined) faults.push({ id: `${fault.id}c`, kind: 'provider', rule: company(random) });
    const isSetBack = fault.kind === 'redis' && (fault.what === 'roll_back' || fault.what === 'flush');
    if (isSetBack && isPoisoned) continue;
    isPoisoned ||= isSetBack;
    faults.push(fault);
    if (isSetBack && random.chance(0.5)) faults.push({ id: `f${index + 1}r`, kind: 'strike', slot: 'recover', strike: { id: `f${index + 1}r`, point: random.pick(recoverPoints), nth: 1, kind: random.pick(['kill', 'kill', 'fail'] as const), ms: 0 } });
  }
  return {
    seed,
    prompts: 30 + random.int(170),
    runs: random.chance(0.2) ? 2 : 1,
    workers,
    batchMs: random.pick([0, 50, 150, 400]),
    budgetTokens: random.chance(0.25) ? 4_000 + random.int(6_000) : undefined,
    badLines: random.chance(0.2) ? 1 + random.int(3) : 0,
    archiveBytes: random.pick([8_000, 16_000, 30_000]),
    chunkBytes: random.pick([1_500, 3_000, 6_000]),
    faults,
  };
}

function drawFault(id: string, random: Random, workers: number): Fault {
  const chance = random.next();
  if (chance < 0.5) return drawStrike(id, random, workers);
  if (chance < 0.6) {
    const script = random.pick(aimedScripts);
    return { id, kind: 'redis_network', script, mishap: { id, aim: '', nth: 1 + random.int(4), kind: random.pick(['cut_before', 'lose_reply', 'lose_reply', 'late_reply'] as const), ms: 100 + random.int(900) } };
  }
  if (chance < 0.7) {
    const what = random.pick(['restart', 'power_cut', 'power_cut', 'roll_back', 'flush', 'full'] as const);
    return { id, kind: 'redis', what, atMs: moment(random), forMs: 200 + random.int(800) };
  }
  if (chance < 0.91) return { id, kind: 'provider', rule: random.pick(providerRules)(random) };
  if (chance < 0.94) return { id, kind: 'stranger', atMs: moment(random), rows: 1 + random.int(20) };
  if (chance < 0.96) return { id, kind: 'twin', atMs: random.int(600) };
  if (chance < 0.98) return { id, kind: 'silence', atMs: moment(random), forMs: 300 + random.int(3_500) };
  return { id, kind: 'kill', slot: random.pick(slotsOf(workers)), atMs: moment(random) };
}

function slotsOf(workers: number): readonly Slot[] {
  return workers === 1 ? ['producer', 'worker-1', 'worker-1', 'worker-1'] : ['producer', 'worker', 'worker', 'worker-1', 'worker-2'];
}

function drawStrike(id: string, random: Random, workers: number): Fault {
  const slot = random.pick(slotsOf(workers));
  const points = slot === 'producer' ? producerPoints : random.chance(0.2) ? rarePoints : workerPoints;
  const total = strikeKinds.reduce((sum, [, weight]) => sum + weight, 0);
  let left = random.int(total);
  const kind = strikeKinds.find(([, weight]) => (left -= weight) < 0)?.[0] ?? 'kill';
  const ms = {
    kill: random.chance(0.3) ? random.int(30) : 0,
    // Longer than the lease of a lane or of a claim in a seed, mostly.
    stop: 1_500 + random.int(3_000),
    fail: 0,
    delay: 50 + random.int(1_500),
    full: 200 + random.int(800),
    clock: random.pick([-3_600_000, 3_600_000, 86_400_000, -5_000, 30_000]),
    term: 0,
  }[kind];
  return { id, kind: 'strike', slot, strike: { id, point: random.pick(points), nth: random.chance(0.7) ? 1 : 1 + random.int(3), kind, ms } };
}

/** A moment of a seed's busy time, ms after the first worker has begun to work. */
function moment(random: Random): number {
  return random.int(2_600);
}

/** A fault on one line. */
export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case 'strike':
      return `${fault.slot} ${fault.strike.kind}${fault.strike.ms === 0 ? '' : ` ${fault.strike.ms} ms`} at ${fault.strike.point} (${fault.strike.nth})`;
    case 'redis_network':
      return `redis ${fault.mishap.kind} at ${fault.script} (${fault.mishap.nth})`;
    case 'redis':
      return `redis ${fault.what}${fault.isUnattended ? ' without a rebuild' : ''} ${fault.atMs} ms after ${fault.whenStruck ?? 'the start'}${fault.isUnattended ? ` for ${fault.forMs} ms` : ''}`;
    case 'provider':
      return `provider ${Object.entries(fault.rule).map(([key, value]) => (key === 'fault' ? String(value) : `${key}=${value}`)).join(',')}`;
    case 'bucket':
      return `bucket ${fault.mishap.what} at ${fault.mishap.nth}, ${fault.mishap.times} times`;
    case 'stranger':
      return `a stranger's batch of ${fault.rows} ${fault.atMs} ms after ${fault.whenStruck ?? 'the start'}`;
    case 'operator':
      return `${fault.act.replace('_', ' ')}${/hold|replan/.test(fault.act) ? ` for ${fault.forMs} ms` : ''} ${fault.atMs} ms after ${fault.whenStruck ?? 'the start'}`;
    case 'twin':
      return `a second producer ${fault.atMs} ms after ${fault.whenStruck ?? 'the start'}`;
    case 'silence':
      return `redis silent for ${fault.forMs} ms after ${fault.atMs} ms`;
    case 'kill':
      return `${fault.slot} killed after ${fault.atMs} ms`;
  }
}
