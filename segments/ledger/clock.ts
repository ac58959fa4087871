/**
 * The clock of an installation. Leases and windows are compared between machines, so all of them follow the clock of
 * Redis: the offset of the local clock to it is measured at the start and again and again.
 *
 * Invariant Z1: between two measurements time is read from the monotonic clock, so a jump of the wall clock on this
 * machine moves nothing.
 */
import type { Redis } from 'ioredis';

export interface SharedClock {
  /** Unix ms, as Redis counts them. */
  now(): number;
  stop(): void;
}

const measureEveryMs = 30_000;

/** Measures the offset once and then every half minute. */
export async function openClock(redis: Redis): Promise<SharedClock> {
  let offsetMs = await measure(redis);
  const timer = setInterval(() => {
    measure(redis).then(
      (measured) => {
        offsetMs = measured;
      },
      // Without an answer the last offset stands; whoever needs Redis will say that it is gone.
      () => undefined,
    );
  }, measureEveryMs);
  timer.unref();
  return { now: () => Math.round(performance.now() + offsetMs), stop: () => clearInterval(timer) };
}

/** Redis' time minus the monotonic clock, ms; half the round trip is taken for the way back. */
async function measure(redis: Redis): Promise<number> {
  const before = performance.now();
  const [seconds, microseconds] = await redis.time();
  const after = performance.now();
  return Number(seconds) * 1000 + Number(microseconds) / 1000 - (before + after) / 2;
}
