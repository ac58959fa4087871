/**
 * The benchmark: measures every stage on the machine at hand, in one run, as ratios against the naive design (naive/) and
 * against what the machine can do at best (limits/), and prints a table. Exits 1 when a goal is missed.
 *
 *   npm run bench -- [--stage NAME]... [--runs N] [--quick]
 *
 * Each program runs as compiled JavaScript in a process of its own; loading it is not part of any time. Medians are of
 * `--runs` rounds (5); a ratio is the median of the rounds' ratios, since both sides of a round saw the same machine.
 * End-to-end runs and the memory figures are measured once, and say so.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildInto } from './build.ts';
import { Children } from './children.ts';
import { measureAudit, measureExport, measureExportToS3 } from './stages/export.ts';
import { measureIngest, measureIngestMemory } from './stages/ingest.ts';
import { measureLedger } from './stages/ledger.ts';
import { measureLongLines, measureResults, measureResultsMemory } from './stages/results.ts';
import { measureEndToEnd, measureMillion } from './stages/run.ts';
import type { Stage } from './stages/stage.ts';
import { measureUpload } from './stages/upload.ts';
import { tableOf, type Row } from './table.ts';

const stages: Readonly<Record<string, Stage>> = {
  ingest: measureIngest,
  upload: measureUpload,
  results: measureResults,
  'long-lines': measureLongLines,
  ledger: measureLedger,
  'export-1gb': measureExport,
  'export-s3': measureExportToS3,
  audit: measureAudit,
  'end-to-end': measureEndToEnd,
  million: measureMillion,
  'memory-ingest': measureIngestMemory,
  'memory-results': measureResultsMemory,
};

const { values } = parseArgs({
  options: { stage: { type: 'string', multiple: true }, runs: { type: 'string', default: '5' }, quick: { type: 'boolean', default: false } },
});
const chosen = values.stage ?? Object.keys(stages);
const unknown = chosen.find((name) => !Object.hasOwn(stages, name));
const runs = Number(values.runs);
if (unknown !== undefined || !Number.isInteger(runs) || runs < 1) {
  process.stderr.write(`usage: npm run bench -- [--stage ${Object.keys(stages).join('|')}]... [--runs N] [--quick]\n`);
  process.exit(2);
}

const scratch = mkdtempSync(join(tmpdir(), 'plimsoll-bench-'));
const children = new Children(buildInto(join(scratch, 'build')));
const rows: Row[] = [];
const loads = [loadavg()[0] ?? 0];
try {
  for (const name of chosen) {
    process.stderr.write(`measuring ${name} …\n`);
    const folder = join(scratch, name);
    mkdirSync(folder);
    const found = (await stages[name]?.({ children, folder, runs, isQuick: values.quick })) ?? [];
    rows.push(...found);
    loads.push(loadavg()[0] ?? 0);
    process.stderr.write(`${tableOf(found)}\n`);
    rmSync(folder, { recursive: true, force: true });
  }
} finally {
  children.stop();
  rmSync(scratch, { recursive: true, force: true });
}

process.stdout.write(`${machine()}\n\n${tableOf(rows)}\n`);
process.exitCode = rows.some((row) => row.isHeld === false) ? 1 : 0;

/** The machine, and how busy it was with other things: a load above the number of its cores blurs every figure. */
function machine(): string {
  const [processor] = cpus();
  const load = loads.map((value) => value.toFixed(1)).join(', ');
  return `${cpus().length} x ${processor?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 1e9)} GB, Linux ${release()}, Node ${process.version}; ${runs} rounds${values.quick ? ', quick' : ''}; load average between stages ${load}`;
}
