import { setTimeout as pause } from 'node:timers/promises';

/** The bounds of one wait, in milliseconds: at most `limitMs` in all, pauses growing from `firstMs` to `longestMs`. */
export interface Patience {
  readonly limitMs: number;
  readonly firstMs: number;
  readonly longestMs: number;
}

/**
 * Asks until there is an answer, and gives undefined when the limit passes without one. It asks at least once, and one
 * last time at the limit. Used only for what another process does, where no event reaches us.
 */
export async function pollUntil<T>(ask: () => Promise<T | undefined> | T | undefined, patience: Patience): Promise<T | undefined> {
  const deadline = performance.now() + patience.limitMs;
  let pauseMs = patience.firstMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return undefined;
    await pause(Math.min(pauseMs, leftMs));
    pauseMs = Math.min(pauseMs * 1.5, patience.longestMs);
  }
}
