/**
 * Many seeds with real processes: `npm run chaos -- --seeds N [--seed S] [--jobs 2] [--log FILE]`. It prints the seed, the
 * schedule and the first broken invariant of what fails, and shrinks it. With a log, a seed that is in it is not played
 * again, every line says on which version and commit it was played (`--commit NAME` for a copy of a checkout), and every
 * second seed is aimed at the crash point that was hit least (`--aim POINT` by hand). `--summary --log FILE` sums a log
 * up. `--lake s3` plays the same schedules with the lake in a bucket, and faults of the bucket beside the others. `--trials` plays the schedules of `trials.ts`; `--power-cuts N` and `--recovery N` measure what their names say.
 */
import { parseArgs } from 'node:util';
import { appendFileSync } from 'node:fs';
import { buildProduct, type Product } from './product.ts';
import { describeFault, drawSchedule, type LakePlace, type Schedule } from './schedule.ts';
import { provenance } from '../provenance.ts';
import { add, rarestPoint, readLog, summaryOf, tallyOf } from './summary.ts';
import type { Moto } from '../../moto.ts';
import { tied } from './children.ts';
import { playPowerCuts } from './power-cuts.ts';
import { playRecoveries, recoveryText } from './recovery.ts';
import { forgone, inBucket, onceBroken, repliesLost, setBack } from './trials.ts';
import { play, type Verdict } from './trial.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' }, jobs: { type: 'string', default: '2' }, log: { type: 'string' },
    trials: { type: 'boolean', default: false }, 'power-cuts': { type: 'string' }, appendfsync: { type: 'string' }, recovery: { type: 'string' },
    summary: { type: 'boolean', default: false }, 'no-shrink': { type: 'boolean', default: false }, 'until-broken': { type: 'boolean', default: false },
    commit: { type: 'string' }, aim: { type: 'string' }, lake: { type: 'string', default: 'folder' },
  },
});

if (values.lake !== 'folder' && values.lake !== 's3') {
  process.stderr.write(`--lake is folder or s3, not ${values.lake}\n`);
  process.exit(2);
}
const lake: LakePlace = values.lake;

/** Plays the schedule without one fault after the other, while it still fails. */
async function shrink(schedule: Schedule, product: Product): Promise<Schedule> {
  let smallest = schedule;
  for (const fault of schedule.faults) {
    const less = { ...smallest, faults: smallest.faults.filter(({ id }) => id !== fault.id) };
    if ((await play(less, product)).breaches.length > 0) smallest = less;
  }
  return smallest;
}

/** A seed that the harness itself could not play is no proof of anything. */
function unplayed(schedule: Schedule, error: unknown): Verdict {
  return {
    seed: schedule.seed, seconds: 0, faults: schedule.faults.map(describeFault), struck: [], points: {}, rebuilds: 0, powerCuts: 0, bytesCut: 0,
    breaches: [`harness: ${error instanceof Error ? error.stack : String(error)}`], edges: {}, deadLetters: {}, outcomes: {}, injected: {}, batches: 0, creates: 0, rows: 0,
  };
}

function tellBroken(verdict: Verdict, schedule: Schedule): void {
  process.stdout.write(`seed ${verdict.seed}: BROKEN ${verdict.breaches[0]}\n`);
  for (const breach of verdict.breaches.slice(1, 6)) process.stdout.write(`  also ${breach}\n`);
  process.stdout.write(`  ${schedule.prompts} prompts in ${schedule.runs} runs, ${schedule.workers} workers, batches of ${schedule.batchMs} ms${schedule.budgetTokens === undefined ? '' : `, ${schedule.budgetTokens} tokens`}\n`);
  for (const fault of schedule.faults) process.stdout.write(`  fault ${fault.id}: ${describeFault(fault)}${verdict.struck.includes(describeFault(fault)) ? '' : ' (did not strike)'}\n`);
}

async function playAll(product: Product): Promise<number> {
  const [seeds, first] = [Number(values.seeds), Number(values.seed)];
  const known = values.log === undefined ? [] : readLog(values.log);
  const finished = new Set(known.map(({ seed }) => seed));
  // Without a log a schedule is a function of its seed alone.
  const tally = values.log === undefined ? undefined : tallyOf(known);
  const queue = Array.from({ length: seeds }, (_, index) => first + index).filter((seed) => !finished.has(seed));
  const playedOn = provenance(values.commit);
  const broken: number[] = [];
  let played = 0;
  const began = performance.now();
  const one = async (): Promise<void> => {
    for (let seed = queue.shift(); seed !== undefined; seed = queue.shift()) {
      const aim = values.aim ?? (seed % 2 === 0 ? (tally && rarestPoint(tally)) : undefined);
      // Seeds that are played side by side aim at different points.
      if (tally && aim !== undefined) add(tally.aims, aim);
      const schedule = drawSchedule(seed, aim, lake);
      const verdict = await play(schedule, product).catch((error: unknown): Verdict => unplayed(schedule, error));
      played += 1;
      if (tally) for (const [point, times] of Object.entries(verdict.points)) add(tally.hits, point, times);
      if (values.log !== undefined) appendFileSync(values.log, `${JSON.stringify({ ...verdict, ...playedOn, ...(aim === undefined ? {} : { aim }) })}\n`);
      if (verdict.breaches.length === 0) {
        process.stdout.write(`seed ${seed}: ok, ${verdict.seconds.toFixed(1)} s, ${verdict.batches} batches, ${verdict.struck.join('; ') || 'no fault struck'}\n`);
        continue;
      }
      broken.push(seed);
      tellBroken(verdict, schedule);
      if (aim !== undefined) process.stdout.write(`  played again with --seed ${seed} --seeds 1 --aim ${aim}${lake === 's3' ? ' --lake s3' : ''}\n`);
      if (values['until-broken']) queue.length = 0;
      if (values['no-shrink']) continue;
      const smallest = await shrink(schedule, product);
      process.stdout.write(`  still broken with: ${smallest.faults.map(describeFault).join('; ') || 'no fault at all'}\n`);
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, one));
  const seconds = (performance.now() - began) / 1000;
  process.stdout.write(`${played} seeds played, ${finished.size > 0 ? `${finished.size} were in the log, ` : ''}${broken.length} broken${broken.length > 0 ? ` (${broken.join(', ')})` : ''}, ${seconds.toFixed(0)} s\n`);
  return broken.length;
}

/** Whether the batch whose reply was lost was found, and nothing was posted again. */
function isAdopted({ edges, creates, batches }: Verdict): boolean {
  return (edges['intent: in_doubt -> adopted'] ?? 0) > 0 && creates === batches;
}

async function playTrials(product: Product): Promise<number> {
  let broken = 0;
  for (const [name, schedule] of Object.entries({ ...repliesLost, ...forgone, ...setBack, ...onceBroken, ...(product.buckets ? inBucket : {}) })) {
    const verdict = await play(schedule, product);
    const isWhole = verdict.breaches.length === 0 && verdict.struck.length === schedule.faults.length && (!(name in repliesLost) || isAdopted(verdict));
    process.stdout.write(`${isWhole ? 'ok    ' : 'BROKEN'} ${name}: ${verdict.batches} batches of ${verdict.creates} creates, ${verdict.seconds.toFixed(1)} s; ${verdict.struck.join('; ')}\n`);
    if (isWhole) continue;
    broken += 1;
    for (const breach of verdict.breaches) process.stdout.write(`  ${breach}\n`);
  }
  return broken;
}

/** @returns how much is broken */
async function playMode(product: Product): Promise<number> {
  if (values['power-cuts'] !== undefined) {
    const result = await playPowerCuts(Number(values['power-cuts']), Number(values.seed), product, values.appendfsync);
    process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
    return result.promptsLost + result.breaches.length;
  }
  if (values.recovery !== undefined) {
    const recoveries = await playRecoveries(Number(values.recovery), Number(values.seed), Number(values.jobs), product);
    process.stdout.write(recoveryText(recoveries));
    return recoveries.filter(({ to }) => to === 'nowhere').length;
  }
  return values.trials ? await playTrials(product) : await playAll(product);
}

/** A server of buckets, where the lake is to stand in one; undefined: there is none here. */
async function startBuckets(): Promise<Moto | undefined> {
  const { isMotoThere, startMoto } = await import('../../moto.ts');
  if (!isMotoThere) return undefined;
  const moto = await startMoto();
  tied(moto.process);
  return moto;
}

async function main(): Promise<number> {
  if (values.summary) {
    process.stdout.write(summaryOf(readLog(values.log ?? '')));
    return 0;
  }
  const buckets = lake === 's3' ? await startBuckets() : undefined;
  if (lake === 's3' && buckets === undefined) {
    process.stderr.write('--lake s3 needs moto_server: pip install "moto[server]", or name it in PLIMSOLL_TEST_MOTO\n');
    return 2;
  }
  const product = await buildProduct();
  try {
    return (await playMode(buckets === undefined ? product : { ...product, buckets })) > 0 ? 1 : 0;
  } finally {
    product.remove();
    await buckets?.stop();
  }
}

process.exitCode = await main();
