/** The export of up to a gigabyte of settled results, to a folder and to S3, and the audit archive. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { resultLinesKey } from '../../../segments/lake.ts';
import { isMotoThere, startMoto } from '../../moto.ts';
import type { Figures } from '../child.ts';
import type { Served } from '../children.ts';
import { atMost, median, medianRatio, rate, shown, type Row } from '../table.ts';
import { preparedOf } from './prepared.ts';
import type { Bench } from './stage.ts';

const firstBatch = 'msgbatch_bench000000000000';
const mb = 1_000_000;
const answerBytes = 10_000;
/** Of one row of results with such an answer. */
const rowBytes = 10_500;

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
    { stage: 'export, resident', figure: `${peaks.map(shown).join(' / ')} MB`, compared: `results of ${sizes.join(' / ')} MB`, ...atMost(growth, 1.5, ' x the first') },
  ];
}

/** The same to a bucket of a server that nobody here wrote; it is slow, so a copy by the same SDK is what counts. Once each. */
export async function measureExportToS3(bench: Bench): Promise<readonly Row[]> {
  if (!isMotoThere) return [{ stage: 'export to S3', figure: 'skipped', compared: 'moto_server is not installed', goal: '', isHeld: undefined }];
  const { children, folder, isQuick } = bench;
  const sizes = isQuick ? [16, 64] : [64, 256, 1_024];
  const peaks: number[] = [];
  const rows: Row[] = [];
  for (const size of sizes) {
    const moto = await startMoto();
    try {
      const ended = await endBatch(bench, `lake-${size}`, Math.round((size * mb) / rowBytes));
      const exported = await children.measure('product/export', ended.lake, ended.provider.line, firstBatch, 'files', moto.url, await moto.bucket());
      peaks.push(exported.peakMb ?? 0);
      if (size === sizes.at(-1)) {
        await children.measure('product/export', ended.lake, ended.provider.line, firstBatch, 'files');
        const copied = await children.measure('limits/copy', ended.results, `${folder}/copy`, moto.url, await moto.bucket());
        const ours = rate(exported.bytes ?? 0, exported.ms ?? 0);
        const copy = rate(copied.bytes ?? 0, copied.ms ?? 0);
        rows.push({ stage: `export of ${size} MB to S3`, figure: `${shown(ours)} MB/s of results, once`, compared: `${shown(ours / copy)} x a copy there and back, ${shown(copy)} MB/s`, goal: '', isHeld: undefined });
      }
      await ended.provider.stop();
      rmSync(ended.lake, { recursive: true });
    } finally {
      await moto.stop();
    }
  }
  const growth = (peaks.at(-1) ?? 0) / (peaks[0] ?? 1);
  return [...rows, { stage: 'export to S3, resident', figure: `${peaks.map(shown).join(' / ')} MB`, compared: `results of ${sizes.join(' / ')} MB, once each`, ...atMost(growth, 1.5, ' x the first') }];
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
