/**
 * G1 and G2 as a property: whatever the order of reserving, splitting, settling, releasing, stopping, resuming, changing
 * limits and turning windows, whichever call is sent twice and wherever a process dies, the ledger's accounts are the
 * sums that a second, simple book arrives at; and in the end nothing is stranded.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import { emptyBook, rowsOf, runs, targets, type BookChunk } from './ledger-book.ts';
import { steps } from './ledger-steps.ts';
import { ledgerForTest } from './ledger-world.ts';

/** Plays sequences of commands, each on an empty ledger. */
export async function playLedger(numRuns: number, seed: number): Promise<void> {
  const world = await ledgerForTest();
  try {
    await fc.assert(
      fc.asyncProperty(fc.commands(steps, { maxCommands: 24, size: 'max' }), async (commands) => {
        await world.test.flush();
        for (const run of runs) await world.open(run);
        const book = emptyBook();
        await fc.asyncModelRun(() => ({ model: book, real: world }), commands);
        await settleDown();
        for (const run of runs) {
          const alive = [...book.chunks.values()].filter((chunk) => chunk.state !== 'split' && chunk.run === run);
          const rows = (state: BookChunk['state']): number => alive.filter((chunk) => chunk.state === state).reduce((sum, chunk) => sum + rowsOf(chunk), 0);
          const found = await world.ledger.readRun(run);
          // A chunk that was never archived is in no run's ledger; a settled one of a rejected archive is a dead letter.
          expect(found).toMatchObject({ chunksOpen: alive.length, rowsQueued: rows('queued') + rows('held'), rowsHeld: 0, chunksHeld: 0 });
          expect((found?.succeeded ?? 0) + (found?.deadLettered ?? 0)).toBe(rows('settled'));
        }

        async function settleDown(): Promise<void> {
          for (const target of targets) await world.ledger.setBudget({ target, tokens: undefined, microUsd: undefined, window: 'total' }, 'operator', book.nowMs);
          await world.ledger.resumeHeld(book.nowMs);
          expect(await world.ledger.listStops(book.nowMs)).toEqual([]);
        }
      }),
      { numRuns, seed },
    );
  } finally {
    await world.close();
  }
}
