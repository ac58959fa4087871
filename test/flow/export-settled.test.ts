/** Exports by the process that has settled the archive: from its index instead of the lines, to the very same bytes. */
import { copyFile, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exportArchive } from '../../exporters/exporter.ts';
import { ResultIndex } from '../../segments/result-index.ts';
import { checkResults } from '../../segments/results.ts';
import { SettledResults } from '../../segments/settled-results.ts';
import { openFolderStore } from '../../segments/store/folder.ts';
import type { Store } from '../../segments/store/store.ts';
import { errored, makeArchive, must, succeeded, type Fixture, type FixtureOptions, type FixtureRow } from './exporter-fixture.ts';

const text = (value: string): object => ({ type: 'text', text: value });
const content = (...blocks: readonly object[]): object => succeeded('', { content: blocks });
const answered = (result: object): FixtureRow => ({ topic: 'invoices', result });

const everyShape: readonly FixtureRow[] = [
  answered(succeeded('one', { stop_reason: 'max_tokens' })),
  answered(succeeded('Größe “M” 😀 "quoted" \\ \u2028 \n')),
  answered(succeeded('')),
  answered(content({ type: 'tool_use', id: 't', name: 'n', input: { type: 'text', text: 'no' } })),
  answered(content()),
  answered(content(text('several '), { type: 'thinking', thinking: 'hm' }, text('texts'))),
  answered(content({ type: 'thinking', thinking: 'hm' }, text('behind a thought'))),
  answered(succeeded('no reason', { stop_reason: null })),
  answered(succeeded('an empty reason', { stop_reason: '' })),
  answered(succeeded('a reason "with" ü', { stop_reason: 'a "reason" ü' })),
  answered(succeeded('no', { stop_reason: 'refusal' })),
  { topic: 'invoices', result: errored('invalid_request_error', 'messages: roles must alternate'), fate: { reason: 'invalid_request', errorType: 'invalid_request_error' } },
  { topic: 'invoices', result: { type: 'expired' }, fate: 'retried' },
  { topic: 'contracts', result: { type: 'canceled' }, fate: { reason: 'canceled_externally', errorType: null } },
  answered(succeeded('longer than a block of the compressor '.repeat(40_000))),
  answered(succeeded('last')),
];
const manyReasons = Array.from({ length: 300 }, (_, n) => answered(succeeded(`${n}`, { stop_reason: `reason ${n}` })));
const fillingBlocks = Array.from({ length: 500 }, (_, n) => answered(succeeded(String.fromCharCode(0xe0 + (n % 30)).repeat(3_000 + n))));
const crlf = (lines: readonly string[]): string => `${lines.join('\r\n')}\r\n`;
const spacedAndTwice = (lines: readonly string[]): string =>
  [...lines, ...lines.slice(0, 3)].map((line) => line.replace(/^\{("custom_id":"[^"]*"),("result":)(.*)\}$/s, ' { "result":{"type":"expired"}, "other": [ ], $1 , $2 $3 } \n')).join('');

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plimsoll-export-settled-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** A lake with a settled archive; `reads` counts how often its results were read as a whole. */
interface Settled extends Fixture {
  readonly store: Store;
  readonly index: ResultIndex;
  readonly resultsPath: string;
  reads(): number;
}

/** Settles an archive as a process does that has received its results as a file. */
async function settle(name: string, rows: readonly FixtureRow[], options: FixtureOptions = {}): Promise<Settled> {
  const lake = await openFolderStore(join(folder, name), 0);
  const fixture = await makeArchive(lake, rows, options);
  const { archive, resultsKey, resultsBytes, resultsSha256 } = fixture.outcome;
  const key = must(resultsKey);
  const resultsPath = must(lake.localPath?.(key));
  const results = await lake.readWhole(key);
  const check = await checkResults([results], { archive, rows: rows.length, shaOf: (index) => must(fixture.rows[index]).sha });
  expect(check.isComplete).toBe(true);
  await copyFile(resultsPath, join(folder, 'download'));
  await rm(resultsPath);
  await lake.putFile(key, join(folder, 'download'), { sizeBytes: resultsBytes, sha256: resultsSha256 });
  await rm(join(folder, 'download'));
  let reads = 0;
  const store = new Proxy(lake, {
    get(target, property) {
      if (property === 'read') return (wanted: string, range?: never) => ((reads += wanted === key ? 1 : 0), target.read(wanted, range));
      const found: unknown = Reflect.get(target, property);
      return typeof found === 'function' ? found.bind(target) : found;
    },
  });
  return { ...fixture, store, index: check.index, resultsPath, reads: () => reads };
}

/** The files of an export by their keys. */
async function exported({ store, outcome }: Settled, index: ResultIndex | undefined, partBytesMax = 128_000_000): Promise<ReadonlyMap<string, Buffer>> {
  const { entries } = await exportArchive({ outcome, store, settings: { partBytesMax, gzipLevel: 1, scratchDirectory: join(folder, 'scratch') }, index });
  const files = new Map<string, Buffer>();
  for (const { url } of entries) files.set(url.slice(store.uri.length + 1), await store.readWhole(url.slice(store.uri.length + 1)));
  return files;
}

describe('an export by the process that has settled', () => {
  it.each([
    ['answers of every shape', everyShape, {}, 128_000_000],
    ['lines that end with a carriage return', everyShape, { disturb: crlf }, 128_000_000],
    ['lines that are spaced, and some of them twice', everyShape, { disturb: spacedAndTwice }, 128_000_000],
    ['more stop reasons than are kept', manyReasons, {}, 128_000_000],
    ['many blocks and parts', fillingBlocks, {}, 1_500_000],
  ] as const)('makes the bytes that any other makes: %s', async (_, rows, options, partBytesMax) => {
    const here = await settle('here', rows, options);
    const elsewhere = await settle('elsewhere', rows, options);
    const files = await exported(here, here.index, partBytesMax);
    expect(here.reads()).toBe(0);
    expect(files).toEqual(await exported(elsewhere, undefined, partBytesMax));
    expect(elsewhere.reads()).toBe(1);
    expect([...files.values()].every((file) => gunzipSync(file).at(-1) === 0x0a)).toBe(true);
  });

  it('reads results that somebody has touched since, and believes their bytes alone (A4)', async () => {
    const settled = await settle('lake', everyShape);
    await utimes(settled.resultsPath, 1, 1);
    await exported(settled, settled.index);
    expect(settled.reads()).toBe(1);
  });

  it('refuses results that were changed since, whatever was known of them', async () => {
    const settled = await settle('lake', everyShape);
    await writeFile(settled.resultsPath, (await readFile(settled.resultsPath, 'utf8')).replace('"last"', '"lost"'));
    await expect(exported(settled, settled.index)).rejects.toMatchObject({ code: 'lake_conflict' });
  });
});

describe('what is kept of settled results', () => {
  const kept = async (name: string): Promise<{ readonly settled: SettledResults; readonly index: ResultIndex }> => {
    const { index } = await settle(name, [answered(succeeded('one'))]);
    const settled = new SettledResults();
    settled.keep({ isComplete: true, sha256: 'aa', sizeBytes: 9, index });
    return { settled, index };
  };

  it('is announced with its size, unless it is dropped', () => {
    const sizes: number[] = [];
    const settled = new SettledResults((sizeBytes) => sizes.push(sizeBytes));
    settled.keep({ isComplete: true, sha256: 'aa', sizeBytes: 7, index: new ResultIndex(1) });
    settled.keep({ isComplete: false, sha256: 'bb', sizeBytes: 8, index: new ResultIndex(1) });
    expect(sizes).toEqual([7]);
  });

  it('is taken once', async () => {
    const { settled, index } = await kept('lake');
    expect([settled.take('bb'), settled.take('aa'), settled.take('aa')]).toEqual([undefined, index, undefined]);
  });

  it('is never of an incomplete set: its lines and its index would make other rows (N1)', async () => {
    const { settled, index } = await kept('lake');
    settled.keep({ isComplete: false, sha256: 'bb', sizeBytes: 9, index });
    expect(settled.take('bb')).toBeUndefined();
  });

  it('is of the last archives only, so that memory does not grow where another process exports (N3)', async () => {
    const { settled, index } = await kept('lake');
    for (const sha256 of ['b', 'c', 'd', 'e']) settled.keep({ isComplete: true, sha256, sizeBytes: 9, index });
    expect([settled.take('aa'), settled.take('b')]).toEqual([undefined, index]);
  });
});
