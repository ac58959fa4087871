/** What belongs to another account is left to it: soon asked for again where its side may have a worker, and told once. */
import { expect, it } from 'vitest';
import type { ArchiveRecord, RunRecord } from '../../segments/ledger/ledger.ts';
import type { Side } from '../../segments/side.ts';
import type { StageLog } from '../../segments/stage.ts';
import { makeLeaving, tellerOfOtherSide } from '../../workers/other-account.ts';

const nowMs = 1_795_000_000_000;
const archive = { archive: '0000000000-000001', run: 'nightly', batch: 'msgbatch_1' } as ArchiveRecord;

function leaving(runSide: Side | undefined): { readonly leave: ReturnType<typeof makeLeaving>; readonly said: StageLog[] } {
  const said: StageLog[] = [];
  const readRun = async (): Promise<RunRecord> => await Promise.resolve({ side: runSide } as RunRecord);
  return { leave: makeLeaving({ ledger: { readRun }, claude: { account: 'acct', side: 'real' }, now: () => nowMs, log: (line) => void said.push(line) }), said };
}

it.each<[string, number, number]>([
  ['a second, while it is young', 0, 1_000],
  ['a tenth of its age', 100_000, 10_000],
  ['never longer than one of its own side', 86_400_000, 60_000],
])('an archive of the other side waits %s, and is told once', async (_what, ageMs, waitMs) => {
  const { leave, said } = leaving('simulated');
  for (let look = 0; look < 3; look += 1) expect(await leave(archive, nowMs - ageMs, 60_000)).toEqual({ kind: 'later', atMs: nowMs + waitMs, why: 'other_side' });
  expect(said).toMatchObject([{ level: 'info', event: 'batch.other_side', subject: 'msgbatch_1' }]);
});

it.each(['real', undefined] as const)('an archive of another account of the same side (%s) is told each time: a key was changed', async (side) => {
  const { leave, said } = leaving(side);
  for (let look = 0; look < 2; look += 1) expect(await leave(archive, nowMs, 60_000)).toEqual({ kind: 'later', atMs: nowMs + 60_000, why: 'other_account' });
  expect(said.map((line) => `${line.level} ${line.event}`)).toEqual(['warn batch.other_account', 'warn batch.other_account']);
});

it.each([['real', 'plimsoll work --simulate'], ['simulated', 'plimsoll work']] as const)('what a %s submitter passes over is told once, with the command that takes it', (side, command) => {
  const said: StageLog[] = [];
  const tell = tellerOfOtherSide({ claude: { account: 'acct', side }, log: (line) => void said.push(line) });
  for (let look = 0; look < 3; look += 1) tell();
  expect(said).toHaveLength(1);
  expect(said[0]).toMatchObject({ level: 'info', event: 'submit.other_side', detail: { hint: `what is passed over here waits for: ${command}` } });
});
