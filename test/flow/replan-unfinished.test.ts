/** A replan that was decided and not carried out: its own command goes on with it, and no other one does (R3 of replanning.ts). */
import { afterEach, beforeEach, expect, it } from 'vitest';
import * as library from '../../cli/library.ts';
import type { Budget } from '../../segments/ledger/ledger.ts';
import type { ReplanOption } from '../../segments/replan-document.ts';
import type { RunKey, SegmentName } from '../../segments/segment.ts';
import { readReplans } from '../../segments/store/replans.ts';
import type { WakeUp } from '../../segments/wake.ts';
import { openLibraryWorld, type LibraryWorld } from '../library-world.ts';
import { limits } from '../ledger-world.ts';

const segment = 'mails.8k.normal' as SegmentName;
const [north, south] = ['north' as RunKey, 'south' as RunKey];
const rows = 10;
const ada = { by: 'ada', reason: 'a sample shows the trend' };
const bob = { by: 'bob', reason: 'short answers will do' };

let both: LibraryWorld;
let world: LibraryWorld['world'];
let plimsoll: library.Installation;
let woken: WakeUp[] = [];
beforeEach(async () => {
  both = await openLibraryWorld();
  ({ world } = both);
  plimsoll = { ...both.plimsoll, wake: { ...both.plimsoll.wake, wake: async (wakeUp) => void woken.push(wakeUp), enqueueChunk: async () => undefined } };
  await plimsoll.ledger.hold({ kind: 'segment', segment }, plimsoll.now());
  for (const run of [north, south]) {
    const lines = Array.from({ length: rows }, (_, index) => JSON.stringify({ id: `${run}-${index}`, topic: 'mails', params: { model: 'claude-haiku-4-5', max_tokens: 64, messages: [{ role: 'user', content: `Mail ${index}` }] } }));
    await library.enqueue(plimsoll, world.write(`${run}.jsonl`, `${lines.join('\n')}\n`), { runKey: run });
  }
  for (let chunk = await plimsoll.ledger.nextQueued(segment); chunk; chunk = await plimsoll.ledger.nextQueued(segment)) {
    expect((await plimsoll.ledger.admit(chunk.chunk, limits, false, plimsoll.now())).kind).toBe('held');
  }
  // Those of the two ingests.
  woken = [];
});
afterEach(async () => await both.close());

interface Asked extends ReplanOption {
  readonly run?: RunKey;
  readonly budgetMicroUsd?: number;
}

const apply = async ({ run, budgetMicroUsd, ...option }: Asked, decision: { readonly by: string; readonly reason: string }, installation = plimsoll): Promise<library.ReplanResult> =>
  await library.applyReplan(installation, { segment, option, run, budgetMicroUsd }, decision);

/** The installation of a command that dies after its decision is written down. `sees`: of which run it finds chunks held. */
function dying(sees?: RunKey, whenRead: () => Promise<void> = async () => undefined): library.Installation {
  const { ledger } = plimsoll;
  return {
    ...plimsoll,
    ledger: {
      ...ledger,
      async listHeld(name) {
        await whenRead();
        return (await ledger.listHeld(name)).filter(({ run }) => sees === undefined || run === sees);
      },
      replanChunks: () => Promise.reject(new Error('died')),
    },
  };
}

/** Two commands that both look for unfinished replans before either has written its own down, and both die. */
async function bothDie(first: (installation: library.Installation) => Promise<unknown>, second: (installation: library.Installation) => Promise<unknown>, sees: readonly (RunKey | undefined)[] = []): Promise<void> {
  let waiting = 2;
  let open: () => void = () => undefined;
  const both = new Promise<void>((resolve) => (open = resolve));
  const meet = async (): Promise<void> => {
    waiting -= 1;
    if (waiting === 0) open();
    await both;
  };
  const ends = await Promise.allSettled([first(dying(sees[0], meet)), second(dying(sees[1], meet))]);
  expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(await readReplans(plimsoll.store, segment)).toHaveLength(2);
}

const heldRows = async (): Promise<number> => (await plimsoll.ledger.listHeld(segment)).reduce((sum, chunk) => sum + chunk.rows, 0);

it.each<[string, Asked, Asked]>([
  ['another option', { sample: { percent: 10 } }, { maxTokens: 16 }],
  ['another sample', { sample: { percent: 10 } }, { sample: { rows: 10 } }],
  ['more than was asked for', { sample: { rows: 1 } }, { sample: { rows: 1 }, maxTokens: 16 }],
  ['one run of all', { sample: { rows: 1 } }, { sample: { rows: 1 }, run: north }],
  ['all instead of one run', { sample: { rows: 1 }, run: north }, { sample: { rows: 1 } }],
  ['another run', { sample: { rows: 1 }, run: north }, { sample: { rows: 1 }, run: south }],
])('%s is refused while a decision is not carried out, and changes nothing', async (_name, decided, asked) => {
  await expect(apply(decided, ada, dying())).rejects.toThrow('died');
  const error: unknown = await apply(asked, bob).catch((caught: unknown) => caught);
  const [document] = await readReplans(plimsoll.store, segment);
  expect(error).toMatchObject({ code: 'replan_unfinished', where: `journal/replans/${document?.replan ?? ''}.json` });
  expect(error).toHaveProperty('message', expect.stringMatching(/ada decided --sample .*because "a sample shows the trend"/));
  expect(error).toHaveProperty('hint', expect.stringMatching(decided.run ? /plimsoll replan mails.8k.normal --run north --sample 1 --apply/ : /plimsoll replan mails.8k.normal --sample \d+%? --apply/));
  expect([await heldRows(), woken]).toEqual([2 * rows, []]);
  expect(await readReplans(plimsoll.store, segment)).toHaveLength(1);
});

it('the command line says so with exit code 2, and sets no budget', async () => {
  const budget: Budget = { target: 'topic:mails', tokens: undefined, microUsd: 1, window: 'total', mode: 'strict' };
  await plimsoll.ledger.setBudget(budget, 'operator', plimsoll.now());
  await plimsoll.ledger.resume({ kind: 'segment', segment }, plimsoll.now());
  const chunk = await plimsoll.ledger.nextQueued(segment);
  if (!chunk) throw new Error('the resumed segment has a chunk in its queue');
  await plimsoll.ledger.stopOnBudget({ chunk: chunk.chunk, target: 'topic:mails', reason: 'budget_cost', tokensNeeded: 0, microUsdNeeded: 100, nowMs: plimsoll.now() });
  await expect(apply({ sample: { rows: 1 } }, ada, dying())).rejects.toThrow('died');
  const end = await world.run(['replan', segment, '--max-tokens', '16', '--budget-usd', '5', '--apply', '--by', 'bob', '--reason', 'why not']);
  expect([end.code, end.stdout]).toEqual([2, '']);
  expect(end.stderr).toContain('[replan_unfinished]');
  expect((await plimsoll.ledger.listBudgets())[0]).toMatchObject({ target: 'topic:mails', microUsd: 1 });
});

it('the same command goes on with it, whoever gives it, and the words of the first stay', async () => {
  await expect(apply({ sample: { percent: 10 } }, ada, dying())).rejects.toThrow('died');
  const { applied, further, isResumed } = await apply({ sample: { percent: 10 } }, bob);
  expect([applied, isResumed, further]).toMatchObject([{ document: ada, rowsKept: 2, rowsNotSampled: 18, rowsGone: 0 }, true, []]);
  expect(woken.map(({ entity }) => entity)).toEqual(applied.archives);
  expect(await heldRows()).toBe(0);
});

it('a decision over all that was held of one run only is also that of a command for this run', async () => {
  await expect(apply({ maxTokens: 16 }, ada, dying(north))).rejects.toThrow('died');
  expect(await apply({ maxTokens: 16, run: north }, bob)).toMatchObject({ isResumed: true, applied: { document: ada, rowsKept: rows } });
});

it('two tries of one decision over different chunks are both gone on with, told and woken', async () => {
  const option = { maxTokens: 16 };
  await bothDie(async (installation) => await apply(option, ada, installation), async (installation) => await apply(option, bob, installation), [north, south]);
  const { applied, further } = await apply(option, bob);
  expect([applied, ...further].map(({ document, rowsKept }) => [document.by, rowsKept]).sort()).toEqual([['ada', rows], ['bob', rows]]);
  expect(woken.map(({ entity }) => entity).sort()).toEqual([applied, ...further].flatMap(({ archives }) => archives.map(String)).sort());
  expect(await heldRows()).toBe(0);
});

it('two decisions of the same moment that differ are each gone on with by their own command, and by no third', async () => {
  await bothDie(async (installation) => await apply({ sample: { rows: 1 } }, ada, installation), async (installation) => await apply({ maxTokens: 16 }, bob, installation));
  await expect(apply({ maxTokens: 8 }, { by: 'cleo', reason: 'shorter still' })).rejects.toMatchObject({ code: 'replan_unfinished', message: expect.stringMatching(/2 replans .*(ada.*bob|bob.*ada)/) as string });
  expect(await apply({ maxTokens: 16 }, bob)).toMatchObject({ isResumed: true, further: [], applied: { document: bob, rowsKept: 2 * rows, rowsNotSampled: 0 } });
  await expect(apply({ sample: { rows: 1 } }, ada)).rejects.toMatchObject({ code: 'nothing_held' });
});
