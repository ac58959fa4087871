/** Schedules that are not drawn: what must hold for one fault in each of its company, what a lake in a bucket adds, and seeds that were once broken. */
import type { BucketMishap } from './bucket.ts';
import type { Fault, Schedule } from './schedule.ts';

const plain = { seed: 1, prompts: 60, runs: 1, workers: 1, batchMs: 150, budgetTokens: undefined, badLines: 0, archiveBytes: 16_000, chunkBytes: 3_000 };

/** The second create is accepted and its reply never comes; it is slow enough for something else to happen before anybody knows. */
const replyLost: Fault = { id: 'lost', kind: 'provider', rule: { fault: 'reply_hang', nth: 2, seconds: 1 } };
/** The moment behind the last byte of the second create. */
const sent: Fault = { id: 'sent', kind: 'strike', slot: 'worker-1', strike: { id: 'sent', point: 'claude.create:sent', nth: 2, kind: 'delay', ms: 1 } };

/** A create that was accepted and whose reply was lost, alone and in bad company: it is adopted and never posted again. */
export const repliesLost: Readonly<Record<string, Schedule>> = {
  'and nothing else happens': { ...plain, faults: [replyLost] },
  'and its worker is killed': { ...plain, faults: [replyLost, { ...sent, strike: { ...sent.strike, kind: 'kill', ms: 100 } }] },
  'and Redis loses its power': { ...plain, faults: [replyLost, sent, { id: 'cut', kind: 'redis', what: 'power_cut', atMs: 100, forMs: 0, whenStruck: 'sent' }] },
  'and the list lags behind': { ...plain, faults: [replyLost, { id: 'lag', kind: 'provider', rule: { fault: 'list_lag', seconds: 1 } }] },
  "and a stranger's batch has the same count": { ...plain, faults: [replyLost, sent, { id: 'same', kind: 'stranger', atMs: 100, rows: 'same', whenStruck: 'sent' }] },
};

const givenUp = (act: 'forgo' | 'forgo_held', kill?: string): readonly Fault[] => [
  { id: 'forgo', kind: 'operator', act, atMs: 0, forMs: 200 },
  ...(kill === undefined ? [] : [{ id: 'kill', kind: 'strike', slot: 'operator', strike: { id: 'kill', point: kill, nth: 1, kind: 'kill', ms: 0 } } as const]),
];
const listedLate: Fault = { id: 'lag', kind: 'provider', rule: { fault: 'list_lag', seconds: 4 } };
const neverMade: Fault = { id: 'none', kind: 'provider', rule: { fault: 'drop_after', nth: 2 } };

/** A create without a reply that a person gives up: its rows are dead letters at their bounds, and it is never sent again. */
export const forgone: Readonly<Record<string, Schedule>> = {
  'whose batch turns up later': { ...plain, landingWaitMs: 10_000, faults: [{ ...replyLost, rule: { fault: 'reply_lost', nth: 2 } }, listedLate, ...givenUp('forgo')] },
  'that was left to a person before': { ...plain, landingWaitMs: 10_000, faults: [neverMade, ...givenUp('forgo_held')] },
  'by a command that is killed behind its word': { ...plain, landingWaitMs: 10_000, faults: [neverMade, ...givenUp('forgo', 'lake.forgone:after')] },
};

const bucket = (what: BucketMishap['what'], nth: number, times = 1): Fault => ({ id: what, kind: 'bucket', mishap: { id: what, what, nth, times, afterBytes: 40 } });
const kill = (point: string): Fault => ({ id: point, kind: 'strike', slot: 'worker-1', strike: { id: point, point, nth: 1, kind: 'kill', ms: 0 } });

/** A lake in a bucket: what the store does, and processes that die at its writes. */
export const inBucket: Readonly<Record<string, Schedule>> = {
  'that loses the reply of a write, has two writers, is busy, breaks reads off, is silent and denies': {
    ...plain, lake: 's3', faults: [bucket('lost_write', 6), bucket('contested', 12, 2), bucket('slow_down', 40, 12), bucket('cut_read', 3, 2), bucket('silent', 70), bucket('denied', 90, 2)],
  },
  'whose workers die before and behind the write of an intent, an outcome and a manifest': {
    ...plain, lake: 's3', faults: [kill('lake.intent:before'), kill('lake.intent:after'), kill('lake.outcome:after'), kill('lake.archive-manifest:before')],
  },
};

/**
 * Redis is copied at the last byte of the first create and set back to that, or to nothing, soon after the last byte of the
 * second one, of which it then knows nothing; nobody rebuilds it for seconds, and a producer comes by meanwhile.
 */
const unattended = (what: 'roll_back' | 'flush'): readonly Fault[] => [
  { ...sent, id: 'first', strike: { ...sent.strike, id: 'first', nth: 1 } }, sent,
  { id: 'back', kind: 'redis', what, atMs: 100, forMs: 5_000, isUnattended: true, copiedWhenStruck: 'first', whenStruck: 'sent' },
  { id: 'twin', kind: 'twin', atMs: 1_000, whenStruck: 'sent' },
];

/** A Redis that forgets, and nobody rebuilds it for seconds: whoever meets it as it is refuses. */
export const setBack: Readonly<Record<string, Schedule>> = {
  'to an older copy': { ...plain, faults: unattended('roll_back') },
  'to an older copy, while a create has no reply': { ...plain, faults: [replyLost, ...unattended('roll_back')] },
  'to nothing': { ...plain, faults: unattended('flush') },
  // What it sees in the workspace then are batches of archives that it holds for unsent.
  'to before the first intent, when all of them have ended': { ...plain, faults: [
    { id: 'first', kind: 'strike', slot: 'worker-1', strike: { id: 'first', point: 'ledger.prepare-intent:after', nth: 1, kind: 'delay', ms: 300 } },
    { ...sent, strike: { ...sent.strike, nth: 1, ms: 2_500 } },
    { id: 'back', kind: 'redis', what: 'roll_back', atMs: 1_500, forMs: 6_000, isUnattended: true, copiedWhenStruck: 'first', whenStruck: 'sent' },
  ] },
};

/** Seeds that were broken once, shrunk. */
export const onceBroken: Readonly<Record<string, Schedule>> = {
  "a stranger's batch whose reply is lost is not taken for one of ours": {
    ...plain, faults: [{ id: 'theirs', kind: 'stranger', atMs: 0, rows: 5 }, { id: 'lost', kind: 'provider', rule: { fault: 'reply_lost', nth: 1 } }],
  },
  'a scratch disk without room stops no archive for longer than there is none': {
    ...plain, workers: 1, faults: [{ id: 'full', kind: 'strike', slot: 'worker-1', strike: { id: 'full', point: 'ledger.settle:after', nth: 1, kind: 'full', ms: 900 } }],
  },
  'a ledger that is rebuilt after an archive was halved is not taken for one that has forgotten its intent': {
    ...plain, batchMs: 400, faults: [
      { id: 'large', kind: 'provider', rule: { fault: 'too_large', nth: 1 } },
      { id: 'over', kind: 'strike', slot: 'worker-1', strike: { id: 'over', point: 'ledger.halve-archive:after', nth: 1, kind: 'delay', ms: 1 } },
      { id: 'flush', kind: 'redis', what: 'flush', atMs: 100, forMs: 200, whenStruck: 'over' },
    ],
  },
  'a Redis without memory is waited for, and what it refused is neither a defect nor a long rest': {
    ...plain, workers: 2, faults: [
      { id: 'over', kind: 'strike', slot: 'worker', strike: { id: 'over', point: 'ledger.admit:after', nth: 1, kind: 'delay', ms: 1 } },
      { id: 'full', kind: 'redis', what: 'full', atMs: 0, forMs: 800, whenStruck: 'over' },
    ],
  },
  'what a worker that was killed had still to tell is told by the one that ends next, although the claim of the dead one holds': {
    ...plain, faults: [{ id: 'told', kind: 'strike', slot: 'worker-1', strike: { id: 'told', point: 'ledger.complete-run:after', nth: 1, kind: 'kill', ms: 0 } }],
  },
};
