/** What a stage that fails leaves behind: its claim, and when the entity's turn comes again. */
import { expect, it } from 'vitest';
import { PlimsollError, type ErrorCode } from '../../segments/errors.ts';
import type { Log } from '../../segments/stage.ts';
import { runStage } from '../../workers/worker.ts';

/** Lets a stage fail once, at 1,000 ms. */
async function failWith(error: Error): Promise<{ readonly released: readonly unknown[]; readonly levels: readonly string[]; readonly behind: readonly unknown[] }> {
  const released: unknown[] = [];
  const levels: string[] = [];
  const behind: unknown[] = [];
  const log: Log = ({ level }) => void levels.push(level);
  const ledger = {
    claim: async () => true,
    release: async (_stage: string, _entity: string, _owner: string, atMs: number | undefined) => void released.push(atMs),
  };
  const handler = { stage: 'doubt', concurrency: 1, isClaimed: true, handle: async () => await Promise.reject(error) } as const;
  await runStage({ ledger: ledger as never, owner: 'one', claimLeaseMs: 60_000, now: () => 1_000, log, onBehind: (fault) => void behind.push(fault) }, handler, 'entity', new Set(), new AbortController().signal);
  return { released, levels, behind };
}

it.each(['redis_unavailable', 'redis_refused', 'lake_unavailable', 'lake_full', 'provider_unavailable', 'thread_failed'] as const)('%s passes: its claim is given back and it is tried again after five seconds', async (code: ErrorCode) => {
  expect(await failWith(new PlimsollError(code, { message: 'gone' }))).toEqual({ released: [6_000], levels: ['warn'], behind: [] });
});

it.each([new PlimsollError('lake_missing', { message: 'gone' }), new TypeError('a defect')])('%s needs a person: it is an error, and tried again after half a minute', async (error) => {
  expect(await failWith(error)).toEqual({ released: [31_000], levels: ['error'], behind: [] });
});

it('a ledger that is behind keeps the claim, and the process is told', async () => {
  const found = await failWith(new PlimsollError('ledger_behind', { message: 'set back' }));
  expect(found).toMatchObject({ released: [], behind: [{ code: 'ledger_behind' }] });
});
