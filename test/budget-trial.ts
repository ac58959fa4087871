/**
 * A budget over real documents, from the plan to the report: the readmes, changelogs and licences of the installed packages,
 * repeated, under a limit that a part of them needs. It stops, each held segment is replanned to the sample that `replan`
 * proposes, the run ends, and its report is compared with the provider's own bill.
 *
 *   node --import tsx test/budget-trial.ts 20000 5 [plausible|worst]
 *
 * Prints one JSON object; exits 1 when the limit was passed or a sum differs.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { dependencyFolder, readDocuments } from '../cli/corpus.ts';
import { breaches, readRows } from './chaos/oracle.ts';
import { openWorld, type Ended } from './chaos/world.ts';

const [count, usd, billing] = [Number(process.argv[2] ?? 20_000), Number(process.argv[3] ?? 5), process.argv[4] === 'plausible' ? 'plausible' as const : 'worst' as const];
const limitMicroUsd = Math.round(usd * 1_000_000);
const world = await openWorld({ billing }, { PLIMSOLL_BUDGETS: JSON.stringify({ all: { usd: String(usd) } }), PLIMSOLL_ARCHIVE__LINGER: '1s', LOG_LEVEL: 'warn' });
const json = <Shape,>(end: Ended): Shape => JSON.parse(end.stdout) as Shape;
try {
  const found = (await readDocuments(await dependencyFolder())).filter(({ text }) => text.length < 60_000);
  const ids: string[] = [];
  const lines = Array.from({ length: count }, (_, index) => {
    const document = found[index % found.length];
    if (!document) throw new Error('there are no documents');
    ids.push(`doc-${index}`);
    return JSON.stringify({ id: `doc-${index}`, topic: document.topic, params: { model: 'claude-haiku-4-5', max_tokens: 256, messages: [{ role: 'user', content: `${index}. In one sentence, what is this?\n\n${document.text.slice(0, 4_000)}` }] } });
  });
  const source = world.write('documents.jsonl', `${lines.join('\n')}\n`);
  const plan = json<{ cost_usd_expected: number; cost_usd_max: number; budgets: unknown }>(await world.run(['plan', source, '--json']));
  const began = performance.now();
  const held = await world.run(['run', source, '--run-key', 'trial', '--json']);
  const stoppedMs = performance.now() - began;
  const account = json<{ target: string; usd_reserved: number; usd_spent: number; over_bound_rows: number }[]>(await world.run(['budget', 'show', '--json'])).find(({ target }) => target === 'all');
  const status = json<{ segments: { segment: string; rows_held: number }[] }>(await world.run(['status', '--json']));
  const segments = status.segments.filter((each) => each.rows_held > 0);
  const replans = [];
  for (const { segment, rows_held } of segments) {
    const ways = json<{ choices: { kind: string; sample: { rows: number } | null }[] }>(await world.run(['replan', segment, '--json'])).choices;
    const rows = ways.find(({ kind }) => kind === 'sample')?.sample?.rows ?? 0;
    const applied = await world.run(['replan', segment, '--sample', String(rows), '--apply', '--by', 'ada', '--reason', 'trial', '--json']);
    if (applied.code !== 0) throw new Error(applied.stderr);
    replans.push({ segment, held: rows_held, sample: rows });
  }
  const end = await world.run(['run', source, '--run-key', 'trial', '--json']);
  const { dt } = JSON.parse(readFileSync(join(world.lake, 'journal/runs/trial/open.json'), 'utf8')) as { dt: string };
  const report = JSON.parse(readFileSync(join(world.lake, `runs/dt=${dt}/trial/run.json`), 'utf8')) as { counts: Record<string, number>; micro_usd: number };
  const linesMicroUsd = readFileSync(join(world.lake, `runs/dt=${dt}/trial/cost.csv`), 'utf8').trim().split('\n').slice(1).reduce((sum, line) => sum + Number(line.split(',')[6]), 0);
  const billed = readFileSync(world.truthFile, 'utf8').split('\n').filter((line) => line.includes('"row_billed"')).map((line) => Number((JSON.parse(line) as { cost_pico_usd: number | string }).cost_pico_usd) / 1_000_000);
  const billedMicroUsd = billed.reduce((sum, each) => sum + each, 0);
  const broken = [
    ...breaches(world.lake, 'trial', ids, world.truthFile),
    ...(billedMicroUsd > limitMicroUsd ? ['the bill is above the limit'] : []),
    ...(report.micro_usd !== linesMicroUsd ? ['the lines of cost.csv do not add up to the report'] : []),
    ...(Math.abs(report.micro_usd - billedMicroUsd) > 5_000 ? ['the report is a cent off the bill'] : []),
  ];
  const rows = readRows(world.lake).length;
  process.stdout.write(`${JSON.stringify({ documents: count, distinct: found.length, billing, limitUsd: usd, plan: { costUsdExpected: plan.cost_usd_expected, costUsdMax: plan.cost_usd_max, budgets: plan.budgets }, stopped: { code: held.code, seconds: Math.round(stoppedMs / 1000), ...account }, replans, end: { code: end.code, rows, counts: report.counts }, reportMicroUsd: report.micro_usd, linesMicroUsd, billedMicroUsd: Math.round(billedMicroUsd), rowsBilled: billed.length, broken }, undefined, 1)}\n`);
  process.exitCode = broken.length === 0 ? 0 : 1;
} finally {
  await world.close();
}
