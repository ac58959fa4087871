/** Pack + upload: the body of a full archive, from its chunks to a server in another process that discards it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { writeCorpus } from '../corpus.ts';
import { atLeast, atMost, median, medianRatio, rate, shown, workRatio, type Row } from '../table.ts';
import type { Bench } from './stage.ts';

const archiveBytes = 256_000_000;
const run = promisify(execFile);

/** Speed against the SDK's own way and against curl, and memory at two sizes. */
export async function measureUpload({ children, folder, runs, isQuick }: Bench): Promise<readonly Row[]> {
  const bytes = isQuick ? archiveBytes / 4 : archiveBytes;
  const server = await children.serve('provider', 'discard');
  await children.measure('product/prepare', `${folder}/lake`, String(bytes), '100000');
  await children.measure('product/prepare', `${folder}/small`, String(archiveBytes / 4), '100000');
  await children.measure('product/upload', `${folder}/lake`, `${folder}/body.json`);
  const prompts = await writeCorpus(`${folder}/prompts.jsonl`, 5, 100_000, bytes * 1.1);
  const naive: number[] = [];
  const curl: number[] = [];
  const ours: number[] = [];
  const peaks: number[] = [];
  const work = { naive: [] as number[], ours: [] as number[] };
  const smallPeaks: number[] = [];
  const naivePeaks: number[] = [];
  for (let round = 0; round < runs; round += 1) {
    const theirs = await children.measure('naive/upload', server.line, prompts.path, String(bytes));
    naive.push(rate(theirs.bytes ?? 0, theirs.ms ?? 0));
    naivePeaks.push(theirs.peakMb ?? 0);
    work.naive.push(theirs.cpuMs ?? 0);
    curl.push(rate(bytes, await curlMs(`${folder}/body.json`, `${server.line}/v1/messages/batches`)));
    const found = await children.measure('product/upload', `${folder}/lake`, server.line);
    ours.push(rate(found.bytes ?? 0, found.ms ?? 0));
    peaks.push(found.peakMb ?? 0);
    work.ours.push(found.cpuMs ?? 0);
    smallPeaks.push((await children.measure('product/upload', `${folder}/small`, server.line)).peakMb ?? 0);
  }
  await server.stop();
  const figure = `${shown(median(ours))} MB/s`;
  const overNaive = medianRatio(ours, naive);
  const overCurl = medianRatio(ours, curl);
  return [
    { stage: 'pack + upload', figure, compared: `${shown(overNaive)} x naive, ${shown(median(naive))} MB/s, ${shown(median(naivePeaks))} MB; ${workRatio(work.naive, work.ours)}`, ...atLeast(overNaive, 15) },
    { stage: '', figure, compared: `${shown(overCurl)} x curl -T, ${shown(median(curl))} MB/s`, ...atLeast(overCurl, 0.3) },
    { stage: '', figure: `${shown(median(smallPeaks))} / ${shown(median(peaks))} MB resident`, compared: `archives of ${archiveBytes / 4e6} / ${bytes / 1e6} MB`, ...atMost(median(peaks), 150, ' MB') },
  ];
}

/** How long curl takes to send a file, by its own clock. */
async function curlMs(path: string, url: string): Promise<number> {
  const { stdout } = await run('curl', ['-s', '-o', '/dev/null', '-w', '%{time_total}', '-X', 'POST', '-H', 'expect:', '-T', path, url]);
  return Number(stdout) * 1_000;
}
