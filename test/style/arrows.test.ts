/** The import arrows: `segments <- config <- {producers, workers, exporters} <- cli`; `local` imports nothing of ours. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const rooms = ['segments', 'config', 'producers', 'workers', 'exporters', 'cli', 'local'] as const;
type Room = (typeof rooms)[number];

const mayImport: Readonly<Record<Room, readonly Room[]>> = {
  segments: [],
  config: ['segments'],
  producers: ['segments', 'config'],
  workers: ['segments', 'config'],
  exporters: ['segments', 'config'],
  cli: ['segments', 'config', 'producers', 'workers', 'exporters', 'local'],
  local: [],
};

/** What only the rim may touch; the centre is pure outside `ledger/` and `store/`. */
const worldly = ['node:fs', 'node:net', 'node:http', 'node:https', 'node:child_process', 'ioredis', 'bullmq', 'undici', '@anthropic-ai/sdk', '@aws-sdk/'];

function filesOf(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/(?:^|\n)\s*(?:import|export)\s[^;'"]*?from\s*'([^']+)'|(?:^|\n)\s*import\s*'([^']+)'|import\('([^']+)'\)/g)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

describe('import arrows', () => {
  for (const room of rooms) {
    it(`${room} imports only what it may`, () => {
      const broken = filesOf(room).flatMap((file) =>
        importsOf(file)
          .filter((specifier) => specifier.startsWith('.'))
          .map((specifier) => relative(root, resolve(root, dirname(file), specifier)).split('/')[0] as Room)
          .filter((target) => target !== room && !mayImport[room].includes(target))
          .map((target) => `${file} -> ${target}`),
      );
      expect(broken).toEqual([]);
    });
  }

  it('every relative import names its file with its ending', () => {
    const broken = rooms.flatMap(filesOf).flatMap((file) => importsOf(file).filter((specifier) => specifier.startsWith('.') && !/\.(ts|json)$/.test(specifier)).map((specifier) => `${file}: ${specifier}`));
    expect(broken).toEqual([]);
  });

  it('the centre touches the world only in ledger/ and store/', () => {
    const broken = filesOf('segments')
      .filter((file) => !file.startsWith('segments/ledger/') && !file.startsWith('segments/store/'))
      .flatMap((file) => importsOf(file).filter((specifier) => worldly.some((name) => specifier.startsWith(name))).map((specifier) => `${file}: ${specifier}`));
    expect(broken).toEqual([]);
  });

  it('only config/env.ts reads the environment', () => {
    const readers = rooms.flatMap(filesOf).filter((file) => /\bprocess\.env\b/.test(readFileSync(join(root, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')));
    expect(readers).toEqual(['config/env.ts']);
  });

  it('the centre asks no clock and no chance', () => {
    const askers = filesOf('segments')
      .filter((file) => !file.startsWith('segments/ledger/') && !file.startsWith('segments/store/'))
      .filter((file) => /\bDate\.now\(|\bMath\.random\(|\bnew Date\(\)|performance\.now\(|randomUUID\(/.test(readFileSync(join(root, file), 'utf8')));
    expect(askers).toEqual([]);
  });

  it('no folder holds a drawer for anything', () => {
    const drawers = rooms.flatMap(filesOf).filter((file) => /(^|\/)(utils?|helpers?|common|types|interfaces|misc)(\/|\.ts$)/.test(file));
    expect(drawers).toEqual([]);
  });
});
