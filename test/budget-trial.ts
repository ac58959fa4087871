/**
 * A budget over real documents, from the plan to the report: the readmes, changelogs and licences of the installed packages,
 * repeated, under a limit that a part of them needs. It stops, each held segment is replanned to a sample, the limit is
 * raised by what the samples can cost at most, the run ends, and its report is compared with the provider's own bill. Which
 * rows a sample has to take is worked out here once more, from the documents that had no row in the lake when it stopped.
 *
 *   node --import tsx test/budget-trial.ts 20000 5 0.5 [plausible|worst]
 *
 * Prints one JSON object; exits 1 when a limit was passed, a sum differs or a sample is not the one that was asked for.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { dependencyFolder, readDocuments } from '../cli/corpus.ts';
import { samplingOrder } from '../segments/replan.ts';
import { breaches, readRows } from './chaos/oracle.ts';
import { openWorld, type Ended, type World } from './chaos/world.ts';

export interface BudgetTrial {
  readonly documents: number;
  /** The limit at first, and by how much it is raised for the samples. */
  readonly limitMicroUsd: number;
  readonly raiseMicroUsd: number;
  /** Whether the provider bills the most that its rules allow, or what is usual. */
  readonly billing: 'plausible' | 'worst';
  /** Further settings of every process. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface BudgetFigures {
  /** Different documents among them. */
  readonly distinct: number;
  readonly planned: { readonly costUsdExpected: number; readonly costUsdMax: number };
  /** Where it stood at the limit: exit code, time in ms, reserved and spent in micro-USD, and the bill of the provider. */
  readonly stopped: { readonly code: number | null; readonly tookMs: number; readonly takenMicroUsd: number; readonly billedMicroUsd: number; readonly rowsDone: number };
  readonly samples: readonly { readonly segment: string; readonly held: number; readonly rows: number; readonly microUsdMax: number; readonly fit: string }[];
  /** Exit code, the counts of run.json, and how many rows there are of each status. */
  readonly end: { readonly code: number | null; readonly counts: Readonly<Record<string, number>>; readonly statuses: Readonly<Record<string, number>> };
  /** run.json, the lines of cost.csv, and the provider's records. */
  readonly reportMicroUsd: number;
  readonly linesMicroUsd: number;
  readonly billedMicroUsd: number;
  readonly rowsBilled: number;
  /** What is wrong; empty when all is well. */
  readonly broken: readonly string[];
}

interface Line {
  readonly id: string;
  readonly topic: string;
  readonly params: string;
}

const json = <Shape,>(end: Ended): Shape => {
  if (end.stdout === '') throw new Error(end.stderr);
  return JSON.parse(end.stdout) as Shape;
};

/** Plays it once. @throws Error when a command has nothing to say */
export async function playBudget({ documents, limitMicroUsd, raiseMicroUsd, billing, settings }: BudgetTrial): Promise<BudgetFigures> {
  const dollars = (microUsd: number): string => (microUsd / 1_000_000).toFixed(6);
  const world = await openWorld({ billing }, { PLIMSOLL_BUDGETS: JSON.stringify({ all: { usd: dollars(limitMicroUsd) } }), PLIMSOLL_ARCHIVE__LINGER: '1s', LOG_LEVEL: 'warn', ...settings });
  try {
    const { lines, distinct } = await writeLines(documents);
    const source = world.write('documents.jsonl', lines.map(({ id, topic, params }) => `{"id":"${id}","topic":"${topic}","params":${params}}\n`).join(''));
    const plan = json<{ cost_usd_expected: number; cost_usd_max: number }>(await world.run(['plan', source, '--json']));
    const began = performance.now();
    const run = ['run', source, '--run-key', 'trial', '--json'];
    const held = await world.run(run);
    const tookMs = Math.round(performance.now() - began);
    const account = json<{ target: string; usd_reserved: number; usd_spent: number }[]>(await world.run(['budget', 'show', '--json'])).find(({ target }) => target === 'all');
    const done = new Set(readRows(world.lake).map(({ id }) => id));
    const stopped = { code: held.code, tookMs, takenMicroUsd: Math.round(((account?.usd_reserved ?? 0) + (account?.usd_spent ?? 0)) * 1_000_000), billedMicroUsd: billOf(world).microUsd, rowsDone: done.size };
    const samples = await sampleAll(world, raiseMicroUsd, dollars(limitMicroUsd + raiseMicroUsd));
    const end = await world.run(run);

    const { dt } = JSON.parse(readFileSync(join(world.lake, 'journal/runs/trial/open.json'), 'utf8')) as { dt: string };
    const report = JSON.parse(readFileSync(join(world.lake, `runs/dt=${dt}/trial/run.json`), 'utf8')) as { counts: Record<string, number>; micro_usd: number };
    const costs = readFileSync(join(world.lake, `runs/dt=${dt}/trial/cost.csv`), 'utf8').trim().split('\n').slice(1);
    const linesMicroUsd = costs.reduce((sum, line) => sum + Number(line.split(',')[6]), 0);
    const bill = billOf(world);
    const rows = readRows(world.lake);
    const statuses: Record<string, number> = {};
    for (const { status } of rows) statuses[status] = (statuses[status] ?? 0) + 1;
    const rowsHeld = samples.reduce((sum, each) => sum + each.held, 0);
    const broken = [
      ...breaches(world.lake, 'trial', lines.map(({ id }) => id), world.truthFile),
      ...(stopped.billedMicroUsd > limitMicroUsd || bill.microUsd > limitMicroUsd + raiseMicroUsd ? ['the bill is above the limit'] : []),
      ...(rowsHeld !== documents - done.size ? [`${rowsHeld} rows are held, and ${documents - done.size} are not done`] : []),
      ...(report.micro_usd !== linesMicroUsd ? ['the lines of cost.csv do not add up to the report'] : []),
      ...(Math.abs(report.micro_usd - bill.microUsd) >= 5_000 ? ['the report is a cent off the bill'] : []),
      ...sampleBreaches(lines.filter(({ id }) => !done.has(id)), samples, new Map(rows.map(({ id, status }) => [id, status]))),
    ];
    return {
      distinct, planned: { costUsdExpected: plan.cost_usd_expected, costUsdMax: plan.cost_usd_max }, stopped, samples,
      end: { code: end.code, counts: report.counts, statuses }, reportMicroUsd: report.micro_usd, linesMicroUsd, billedMicroUsd: bill.microUsd, rowsBilled: bill.rows, broken,
    };
  } finally {
    await world.close();
  }
}

/** Prompts over real documents; no two are alike. */
async function writeLines(count: number): Promise<{ readonly lines: readonly Line[]; readonly distinct: number }> {
  const found = (await readDocuments(await dependencyFolder())).filter(({ text }) => text.length < 60_000);
  const lines = Array.from({ length: count }, (_, index): Line => {
    const document = found[index % found.length];
    if (!document) throw new Error('there are no documents');
    const content = `${index}. In one sentence, what is this?\n\n${document.text.slice(0, 4_000)}`;
    return { id: `doc-${index}`, topic: document.topic, params: JSON.stringify({ model: 'claude-haiku-4-5', max_tokens: 256, messages: [{ role: 'user', content }] }) };
  });
  return { lines, distinct: Math.min(count, found.length) };
}

interface Choice {
  readonly kind: string;
  readonly rows: number;
  readonly cost_usd_max: number;
  readonly fit: string;
}

/**
 * Replans each held segment to the sample that its share of the raise can pay for at most; the last replan raises the limit.
 * A segment's share is that of its held rows' bounds.
 */
async function sampleAll(world: World, raiseMicroUsd: number, limitUsd: string): Promise<BudgetFigures['samples']> {
  const choices = async (segment: string, ...option: string[]): Promise<readonly Choice[]> => json<{ choices: readonly Choice[] }>(await world.run(['replan', segment, ...option, '--json'])).choices;
  const { segments } = json<{ segments: { segment: string; rows_held: number }[] }>(await world.run(['status', '--json']));
  const held = [];
  for (const { segment, rows_held: rows } of segments) {
    if (rows > 0) held.push({ segment, rows, usdMax: (await choices(segment)).find(({ kind }) => kind === 'as_it_is')?.cost_usd_max ?? 0 });
  }
  const usdMax = held.reduce((sum, each) => sum + each.usdMax, 0);
  const samples = [];
  for (const [index, { segment, rows }] of held.entries()) {
    // A hundredth less than its share, because no sample has exactly the mean of its rows.
    const wanted = Math.floor((rows * 0.99 * raiseMicroUsd) / 1_000_000 / usdMax);
    const option = ['--sample', String(wanted), ...(index === held.length - 1 ? ['--budget-usd', limitUsd] : [])];
    const [shown] = await choices(segment, ...option);
    const applied = await world.run(['replan', segment, ...option, '--apply', '--by', 'ada', '--reason', 'a sample shows the trend', '--json']);
    const { rows: kept } = json<{ rows: number }>(applied);
    samples.push({ segment, held: rows, rows: kept, microUsdMax: Math.round((shown?.cost_usd_max ?? 0) * 1_000_000), fit: shown?.fit ?? '' });
  }
  return samples;
}

/** What the provider has billed, by its own records; a fraction of a micro-USD counts as one, so that no limit is passed by it unseen. */
function billOf(world: World): { readonly microUsd: number; readonly rows: number } {
  const billed = readFileSync(world.truthFile, 'utf8').split('\n').filter((line) => line.includes('"row_billed"'));
  const pico = billed.reduce((sum, line) => sum + BigInt((JSON.parse(line) as { cost_pico_usd: number | string }).cost_pico_usd), 0n);
  return { microUsd: Number((pico + 999_999n) / 1_000_000n), rows: billed.length };
}

/** Of each segment the rows of its sample have succeeded, and all others that were held are told as left out. */
function sampleBreaches(held: readonly Line[], samples: BudgetFigures['samples'], statuses: ReadonlyMap<string, string>): readonly string[] {
  return samples.flatMap(({ segment, rows }) => {
    const own = held.filter(({ topic }) => segment.startsWith(`${topic}.`)).map(({ id, params }) => ({ id, bytes: Buffer.byteLength(params) }));
    const order = samplingOrder(own);
    const isWrong = [...order].filter((place, at) => statuses.get(own[place]?.id ?? '') !== (at < rows ? 'succeeded' : 'not_sampled'));
    return isWrong.length === 0 ? [] : [`${isWrong.length} rows of ${segment} are not what its sample makes of them, first ${own[isWrong[0] ?? 0]?.id ?? ''}`];
  });
}

if (process.argv[1] === import.meta.filename) {
  const [documents, usd, raiseUsd] = [Number(process.argv[2] ?? 20_000), Number(process.argv[3] ?? 5), Number(process.argv[4] ?? 0.5)];
  const billing = process.argv[5] === 'plausible' ? 'plausible' : 'worst';
  const found = await playBudget({ documents, limitMicroUsd: Math.round(usd * 1_000_000), raiseMicroUsd: Math.round(raiseUsd * 1_000_000), billing });
  process.stdout.write(`${JSON.stringify({ documents, limitUsd: usd, raiseUsd, billing, ...found }, undefined, 1)}\n`);
  process.exitCode = found.broken.length === 0 ? 0 : 1;
}
