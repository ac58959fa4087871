/**
 * How likely a call is to meet a fault. Every call of a stage may; those that a run makes once or never are struck more
 * often than those that it makes all the time, or their crash points would hardly be reached.
 */
import { callPoints, laterCallPoints } from './coverage.ts';
import type { CallFate } from './turns.ts';

/** Calls that a schedule makes in special situations only. */
const rare: ReadonlySet<string> = new Set([
  'ledger.absolveIntent', 'ledger.bookLeak', 'ledger.disownBatch', 'ledger.fenceIntent', 'ledger.forgoIntent', 'ledger.halveArchive', 'ledger.holdIntent', 'ledger.noteStranger',
  'ledger.rejectArchive', 'ledger.stopOnBudget', 'ledger.refuseIntent', 'ledger.doubtIntent', 'ledger.closeArchive', 'ledger.expireLane', 'ledger.readHighWater',
  'ledger.renewLane', 'ledger.split', 'ledger.flushRun', 'ledger.openRun', 'ledger.completeRun', 'ledger.noteLook', 'ledger.watchBatch', 'ledger.deferPoll', 'ledger.flushDue', 'ledger.flushArchives',
  'ledger.listArchives', 'claude.cancelBatch', 'claude.firstResult', 'claude.listBatches', 'ledger.readClaims', 'ledger.listHeld', 'ledger.replanChunks', 'ledger.holdChunk',
]);
/** Calls of which each can cost money. */
const grave: ReadonlySet<string> = new Set(['claude.createBatch', 'ledger.sendIntent', 'ledger.armIntent', 'ledger.prepareIntent', 'ledger.acceptIntent', 'ledger.settle', 'ledger.endArchive', 'ledger.exportArchive', 'ledger.sealArchive', 'claude.probe']);

/** The chance that one call of this name meets a fault, while there are some left. */
export function chanceOf(name: string): number {
  if (rare.has(name)) return 0.12;
  return grave.has(name) ? 0.06 : 0.015;
}

/** One fault that a seed is about: the nth call of this name meets this fate, with whatever must go wrong before it. */
export interface Aim {
  readonly call: string;
  readonly fate: Exclude<CallFate, 'run'>;
  readonly nth: number;
  readonly before: { readonly call: string; readonly fate: Exclude<CallFate, 'run'> } | undefined;
}

/** What must have gone wrong before a call is made at all. */
const causes: Readonly<Record<string, Aim['before']>> = {
  'ledger.fenceIntent': { call: 'ledger.sendIntent', fate: 'crash_after' },
  'ledger.expireLane': { call: 'ledger.armIntent', fate: 'crash_after' },
  'ledger.closeArchive': { call: 'ledger.flushRun', fate: 'stop_before' },
  'ledger.holdIntent': { call: 'ledger.sendIntent', fate: 'crash_after' },
  'ledger.renewLane': { call: 'claude.createBatch', fate: 'stop_before' },
};

/** Every so many seeds one is about a strict run that is canceled before it has let its chunks go. */
export const strictCancelEvery = 50;

/** Every so many seeds one is about a sender that is stopped at the gate until everybody else has given it up. */
export function isZombieSeed(seed: number): boolean {
  return seed % 10 === 6;
}

/** Every so many seeds one is about an operator who replans what a budget holds. */
export function isReplanSeed(seed: number): boolean {
  return seed % 20 === 9 || seed % 20 === 14;
}

/** Every so many seeds one is about spool objects that nobody can read for a while. */
export function isMisplacedSeed(seed: number): boolean {
  return seed % 40 === 23;
}

/** Calls that even a world made for them does not always make: they are aimed at three times as often. */
const elusive: ReadonlySet<string> = new Set(['ledger.closeArchive', 'ledger.disownBatch', 'ledger.noteStranger', 'ledger.fenceIntent', 'ledger.forgoIntent', 'ledger.bookLeak', 'ledger.holdIntent', 'ledger.listArchives', 'ledger.renewLane', 'ledger.absolveIntent', 'claude.cancelBatch']);
const isElusive = ({ call }: { readonly call: string }): boolean => elusive.has(call);
const isRare = ({ call }: { readonly call: string }): boolean => rare.has(call);
const rarePoints = [...callPoints.filter(isRare), ...callPoints.filter(isElusive), ...callPoints.filter(isElusive)];
const usualPoints = callPoints.filter((point) => !isRare(point) && !isElusive(point));

/** Three of four seeds are aimed at one point of the calls that are hardly ever made, in turn, so that a campaign reaches all. */
export function aimOf(seed: number): Aim | undefined {
  if (seed % strictCancelEvery === 0) return { call: 'ledger.flushRun', fate: 'stop_before', nth: 1, before: undefined };
  if (isZombieSeed(seed)) return { call: 'ledger.sendIntent', fate: seed % 30 === 6 ? 'stop_before' : 'stop_after', nth: 1, before: undefined };
  if (seed % 4 === 0) return undefined;
  const point = rarePoints[(seed - 1 - Math.floor(seed / 4)) % rarePoints.length];
  return point && { ...point, nth: 1, before: causes[point.call] };
}

/** Every seed but those with a story of their own is aimed at one point of the usual calls as well. */
export function secondAimOf(seed: number): Aim | undefined {
  const point = usualPoints[seed % usualPoints.length];
  if (!point || seed % strictCancelEvery === 0 || isZombieSeed(seed)) return undefined;
  return { ...point, nth: 1 + (Math.floor(seed / usualPoints.length) % 3), before: undefined };
}

const misplacedPoints = laterCallPoints.filter(({ call }) => call === 'ledger.holdChunk');
const otherLaterPoints = laterCallPoints.filter(({ call }) => call !== 'ledger.holdChunk');

/** Two seeds of forty are aimed at a call that came into the lists later, beside what they are aimed at otherwise. */
export function laterAimOf(seed: number): Aim | undefined {
  const points = isMisplacedSeed(seed) ? misplacedPoints : seed % 40 === 3 ? otherLaterPoints : [];
  const point = points[Math.floor(seed / 40) % points.length];
  return point && { ...point, nth: 1, before: undefined };
}
