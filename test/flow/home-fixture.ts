import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import type { Home, HomeOptions, RedisAddress } from '../../local/home.ts';
import { findRedisBinary } from '../../local/redis-binary.ts';
import type { VisitorEvent, VisitorOrder } from './home-visitor.ts';

/** A visitor process under the control of a test. */
export interface Visitor {
  readonly pid: number;
  /** The next event it prints. Raises an error if it ends without one. */
  next(): Promise<VisitorEvent>;
  /** Its next event, which must be that it has opened the home. */
  opened(): Promise<{ redis: RedisAddress; shared: string | null }>;
  /** Lets one in that was told to wait at the door. */
  enter(): void;
  /** Lets it leave politely, and waits for its end. */
  leave(): Promise<void>;
  /** `kill -9`, and waits until it is gone and nobody holds its stdout open any more. */
  kill(): Promise<void>;
}

/** A folder for one test file, and a PATH on which there is a Redis (installed by the system's means if need be). */
export interface Ground {
  readonly folder: string;
  readonly searchPath: string;
  /** The path of a home that nobody has used, and does not exist yet. */
  newHome(): string;
  /** Options that open such a home, quietly and without installing anything. */
  options(directory: string): HomeOptions;
  /** Proves that no process was left running, and removes the folder. */
  clear(): Promise<void>;
}

/** The server goes behind a one-line script, because a copy unpacked without root needs its own library path. */
export async function prepareGround(): Promise<Ground> {
  const folder = await mkdtemp(join(tmpdir(), 'plimsoll-home-'));
  const announce = (line: string): void => void process.stderr.write(`${line}\n`);
  const search = { directory: folder, searchPath: process.env['PATH'] ?? '', install: true, announce };
  const binary = await findRedisBinary(search);
  const searchPath = join(folder, 'bin');
  await writeProgram(searchPath, 'redis-server', `LD_LIBRARY_PATH='${binary.libraryPath}' exec '${binary.command}' "$@"`);
  let homes = 0;
  return {
    folder,
    searchPath,
    newHome: () => {
      homes += 1;
      return join(folder, `home-${homes}`);
    },
    options: (directory) => ({ directory, searchPath, install: false, announce: () => undefined }),
    clear: async () => {
      const left = processesNaming(folder);
      if (left.length > 0) throw new Error(`These tests left processes running: ${left.join(', ')}.`);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Puts a shell script on a search path. */
export async function writeProgram(folder: string, name: string, script: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`);
  await chmod(join(folder, name), 0o755);
}

/** Starts a process that opens the home as ordered. */
export function sendVisitor(order: VisitorOrder): Visitor {
  const program = join(import.meta.dirname, 'home-visitor.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', program, JSON.stringify(order)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<VisitorEvent> => {
    const line = await lines.next();
    if (line.done === true) throw new Error('The visitor ended without a word.');
    return JSON.parse(line.value);
  };
  return {
    pid: child.pid ?? 0,
    next,
    opened: async () => {
      const event = await next();
      if (event.kind !== 'opened') throw new Error(`The visitor says ${JSON.stringify(event)} instead of opening the home.`);
      return event;
    },
    enter: () => void child.stdin.write('enter\n'),
    leave: async () => {
      child.stdin.end();
      await ended;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Runs commands against a Redis on one connection, which does not outlive them. */
export async function withRedis<T>(address: RedisAddress, action: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(address.kind === 'socket' ? address.path : address.url, { retryStrategy: () => null });
  try {
    return await action(redis);
  } finally {
    redis.disconnect();
  }
}

/** Which process serves there, and its run id. */
export async function askIdentity(address: RedisAddress): Promise<{ pid: number; runId: string }> {
  const info = await withRedis(address, (redis) => redis.info('server'));
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? '';
  return { pid: Number(field('process_id')), runId: field('run_id') };
}

/** The pids of all processes whose command line names this folder. A Redis shows its socket there. */
export function processesNaming(folder: string): number[] {
  const table = execFileSync('ps', ['-axwwo', 'pid=,stat=,args='], { encoding: 'utf8' });
  const rows = table.split('\n').filter((row) => row.includes(folder) && !/^\s*\d+\s+Z/.test(row));
  return rows.map((row) => Number.parseInt(row, 10));
}

/** The socket of a home that has a private Redis. */
export function socketOf(home: Home): string {
  if (home.redis.kind === 'socket') return home.redis.path;
  throw new Error('This home has a named Redis, not a private one.');
}

/** Whether there is a file, folder or socket at that path. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false);
}
