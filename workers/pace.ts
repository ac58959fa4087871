/** How often something is looked at that may take a day: often while it is young, seldom when it is old. */

/** It is looked at again after this part of its age. */
const ageShare = 10;

/** How long to wait until the next look, ms, within bounds. `ageMs`: how long it has lasted. */
export function waitAtAge(ageMs: number, leastMs: number, mostMs: number): number {
  return Math.min(mostMs, Math.max(leastMs, Math.floor(ageMs / ageShare)));
}
