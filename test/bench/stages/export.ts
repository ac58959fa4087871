/** The export of up to a gigabyte of settled results, to a folder and to S3, and the audit archive. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { resultLinesKey } from '../../../segments/lake.ts';
import { isMotoThere, startMoto } from '../../moto.ts';
import type { Figures } from '../child.ts';
import type { Served } from '../children.ts';
import { atMost, median, medianRatio, rate, shown, type Row } from '../table.ts';
import { bucketPrefix } from '../product/bucket.ts';
import { preparedOf } from './prepared.ts';
import type { Bench } from './stage.ts';

const firstBatch = 'msgbatch_bench000000000000';
const mb = 1_000_000;
const answerBytes = 10_000;
/** Of one row of results with such an answer. */
const rowBytes = 10_500;
/** Memory may grow by what an archive keeps of each of its rows, some hundred bytes, and by nothing else. */
const growthMax = 1.3;

interface Ended {
  readonly provider: Served;
  readonly lake: string;
  /** The results as they lie in the lake once they are settled. */
  readonly results: string;
}

/** An archive whose batch has ended. `bodyBytes`: with real prompts, up to so many bytes of them; otherwise with short ones. */
async function endBatch({ children, folder }: Bench, name: string, rows: number, bodyBytes?: number): Promise<Ended> {
  const provider = await children.serve('provider', 'answer', ...(bodyBytes === undefined ? [String(answerBytes)] : []));
  const lake = `${folder}/${name}`;
  await children.measure('product/prepare', lake, String(bodyBytes ?? 256 * mb), String(rows), ...(bodyBytes === undefined ? ['short'] : []));
  await children.measure('product/upload', lake, provider.line);
  const { run, archive } = preparedOf(lake);
  return { provider, lake, results: join(lake, resultLinesKey(run, archive)) };
}

/** Removes what an export leaves, so that the next one does all of it again. */
function forget({ lake }: Ended): void {
  for (const part of ['results', 'errors', 'runs', 'audit', 'journal', 'scratch']) rmSync(join(lake, part), { recursive: true, force: true });
}

/** Speed and memory over sizes, into the folder; the largest compared with a copy and with gzip. */
export async function measureExport(bench: Bench): Promise<readonly Row[]> {
  const { children, folder, runs, isQuick } = bench;
  const sizes = isQuick ? [16, 64] : [64, 256, 1_024];
  const peaks: number[] = [];
  const rates = { ours: [] as number[], copy: [] as number[], gzip: [] as number[] };
  for (const size of sizes) {
    const isLargest = size === sizes.at(-1);
    const ended = await endBatch(bench, `lake-${size}`, Math.round((size * mb) / rowBytes));
    const found: Figures[] = [];
    for (let round = 0; round < (isLargest ? runs : 1); round += 1) {
      forget(ended);
      const exported = await children.measure('product/export', ended.lake, ended.provider.line, firstBatch, 'files');
      found.push(exported);
      if (!isLargest) continue;
      rates.ours.push(rate(exported.bytes ?? 0, exported.ms ?? 0));
      const copied = await children.measure('limits/copy', ended.results, `${folder}/copy`);
      rates.copy.push(rate(copied.bytes ?? 0, copied.ms ?? 0));
      const zipped = await children.measure('limits/gzip', ended.results, `${folder}/copy.gz`);
      rates.gzip.push(rate(exported.bytes ?? 0, zipped.ms ?? 0));
    }
    peaks.push(median(found.map((figures) => figures.peakMb ?? 0)));
    await ended.provider.stop();
    rmSync(ended.lake, { recursive: true });
  }
  const figure = `${shown(median(rates.ours))} MB/s of results`;
  const growth = (peaks.at(-1) ?? 0) / (peaks[0] ?? 1);
  return [
    { stage: `export of ${sizes.at(-1)} MB to the folder`, figure, compared: `${shown(medianRatio(rates.ours, rates.copy))} x a plain copy, ${shown(median(rates.copy))} MB/s`, goal: '', isHeld: undefined },
    { stage: '', figure, compared: `${shown(medianRatio(rates.ours, rates.gzip))} x gzip -1 of the results alone, ${shown(median(rates.gzip))} MB/s`, goal: '', isHeld: undefined },
    { stage: 'export, resident', figure: `${peaks.map(shown).join(' / ')} MB`, compared: `results of ${sizes.join(' / ')} MB`, ...atMost(growth, growthMax, ' x the first') },
  ];
}

/**
 * The same to a bucket of a server that nobody here wrote. That server is one Python process, so a plain copy of as many
 * bytes by the SDK, in the same run, says what it can do at best; what counts is that the ratio does not fall with the
 * size. Once each: the largest alone takes a minute.
 */
export async function measureExportToS3(bench: Bench): Promise<readonly Row[]> {
  if (!isMotoThere) return [{ stage: 'export to S3', figure: 'skipped', compared: 'moto_server is not installed', goal: '', isHeld: undefined }];
  const sizes = bench.isQuick ? [16, 64] : [64, 256, 1_024];
  const found: { readonly peakMb: number; readonly ratio: number; readonly rows: readonly Row[] }[] = [];
  for (const size of sizes) found.push(await exportToS3(bench, size));
  const growth = (found.at(-1)?.peakMb ?? 0) / (found[0]?.peakMb ?? 1);
  const fall = (found[0]?.ratio ?? 0) / (found.at(-1)?.ratio ?? 1);
  const ratios = found.map(({ ratio }) => shown(ratio)).join(' / ');
  return [
    ...found.flatMap(({ rows }) => rows),
    { stage: 'export to S3, over sizes', figure: `${ratios} x the SDK's copy`, compared: `results of ${sizes.join(' / ')} MB, once each`, ...atMost(fall, 1.5, ' x slower') },
    { stage: 'export to S3, resident', figure: `${found.map(({ peakMb }) => shown(peakMb)).join(' / ')} MB`, compared: `results of ${sizes.join(' / ')} MB, once each`, ...atMost(growth, growthMax, ' x the first') },
  ];
}

async function exportToS3(bench: Bench, size: number): Promise<{ readonly peakMb: number; readonly ratio: number; readonly rows: readonly Row[] }> {
  const { children, folder } = bench;
  const moto = await startMoto();
  try {
    const ended = await endBatch(bench, `lake-${size}`, Math.round((size * mb) / rowBytes));
    const bucket = await moto.bucket();
    const exported = await children.measure('product/export', ended.lake, ended.provider.line, firstBatch, 'files', moto.url, bucket);
    await ended.provider.stop();
    const { run, archive } = preparedOf(ended.lake);
    rmSync(ended.lake, { recursive: true });
    const copied = await children.measure('limits/copy', `${bucketPrefix}/${resultLinesKey(run, archive)}`, `${folder}/copy`, moto.url, bucket, String(exported.written));
    const put = await children.measure('product/put', `${folder}/copy`, moto.url, await moto.bucket());
    rmSync(`${folder}/copy`);
    const bytes = exported.bytes ?? 0;
    const [ours, copy] = [rate(bytes, exported.ms ?? 0), rate(bytes, (copied.getMs ?? 0) + (copied.partMs ?? 0))];
    const [stored, plain] = [rate(bytes, put.ms ?? 0), rate(bytes, copied.putMs ?? 0)];
    return {
      peakMb: exported.peakMb ?? 0,
      ratio: ours / copy,
      rows: [
        { stage: `export of ${size} MB to S3`, figure: `${shown(ours)} MB/s of results, once`, compared: `${shown(ours / copy)} x the SDK getting the results and putting as many bytes as the files have, ${shown(copy)} MB/s`, goal: '', isHeld: undefined },
        { stage: `upload of ${size} MB of results`, figure: `${shown(stored)} MB/s in parts, once`, compared: `${shown(stored / plain)} x one PUT of the same bytes by the SDK, ${shown(plain)} MB/s`, goal: '', isHeld: undefined },
      ],
    };
  } finally {
    await moto.stop();
  }
}

/** One audit archive of a full archive and its results. */
export async function measureAudit(bench: Bench): Promise<readonly Row[]> {
  const { children, folder, runs, isQuick } = bench;
  const ended = await endBatch(bench, 'lake', 100_000, (isQuick ? 32 : 256) * mb);
  const ours: number[] = [];
  const gzip: number[] = [];
  const peaks: number[] = [];
  for (let round = 0; round < runs; round += 1) {
    forget(ended);
    const audited = await children.measure('product/export', ended.lake, ended.provider.line, firstBatch, 'audit');
    ours.push(rate(audited.bytes ?? 0, audited.ms ?? 0));
    peaks.push(audited.peakMb ?? 0);
    const zipped = await children.measure('limits/gzip', ended.results, `${folder}/copy.gz`);
    gzip.push(rate(zipped.bytes ?? 0, zipped.ms ?? 0));
  }
  await ended.provider.stop();
  const ratio = medianRatio(ours, gzip);
  return [{ stage: 'audit archive', figure: `${shown(median(ours))} MB/s of requests and results, ${shown(median(peaks))} MB resident`, compared: `${shown(ratio)} x gzip -1 of the results alone, ${shown(median(gzip))} MB/s`, goal: '', isHeld: undefined }];
}
