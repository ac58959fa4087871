/**
 * A Redis of the shipped settings that loses power, is set back to an older copy, runs out of memory and starts again.
 *
 * Invariants
 *   R1  A power cut leaves exactly what was flushed to the disk: the process dies at once and the file is cut back to its
 *       size at the last fdatasync, as `fsync-log.c` has noted it. Without a C compiler the file is cut back to its size
 *       at the moment from which on the proxy has let no reply pass: nothing that was acknowledged is beyond it.
 *   R2  Before the file is cut or replaced it is kept, so that the history of the seed has no holes.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { serverEnvironment } from '../../../local/install.ts';
import { findRedisBinary, type SearchOptions } from '../../../local/redis-binary.ts';
import { pollUntil } from '../../../local/poll.ts';
import { greetRedis } from '../../../local/redis-greeting.ts';
import { serverArguments } from '../../../local/redis.ts';
import { tied } from './children.ts';

const startPatience = { limitMs: 20_000, firstMs: 5, longestMs: 50 };

/** What starts a server; made once, shared by all seeds. */
export interface RedisProgram {
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
  /** The library that notes flushes, where a C compiler could make it. */
  readonly noteFlushes: string | undefined;
}

/** Finds a Redis as users find theirs, and makes the library that notes flushes. */
export async function findRedisProgram(folder: string): Promise<RedisProgram> {
  const search: SearchOptions = { directory: folder, searchPath: process.env['PATH'] ?? '', install: true, announce: (line) => void process.stderr.write(`${line}\n`) };
  const binary = await findRedisBinary(search);
  const env = serverEnvironment(binary);
  const library = join(folder, 'fsync-log.so');
  try {
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, join(import.meta.dirname, 'fsync-log.c'), '-ldl'], { stdio: 'pipe' });
    return { command: binary.command, env, noteFlushes: library };
  } catch {
    return { command: binary.command, env, noteFlushes: undefined };
  }
}

export class FragileRedis {
  readonly #program: RedisProgram;
  readonly #folder: string;
  readonly #settings: readonly string[];
  readonly socketPath: string;
  #process: ChildProcess | undefined;
  #admin: Redis | undefined;
  #copies = 0;
  /** Size of the file when the server began: that much had been flushed long before. */
  #sizeAtStart = 0;
  /** Files of the history, in order; each begins anew with what the server held then. */
  readonly history: string[] = [];

  /** `settings` are further arguments of the server, which replace shipped ones. */
  constructor(program: RedisProgram, folder: string, settings: readonly string[] = []) {
    this.#program = program;
    this.#folder = join(folder, 'redis');
    this.#settings = settings;
    mkdirSync(this.#folder, { recursive: true });
    // The path of a socket is at most 107 bytes long.
    this.socketPath = join(folder, 'r.sock');
    if (this.socketPath.length > 100) this.socketPath = join(tmpdir(), `plimsoll-chaos-${process.pid}-${Math.random().toString(36).slice(2)}.sock`);
  }

  get isNoted(): boolean {
    return this.#program.noteFlushes !== undefined;
  }

  async start(): Promise<void> {
    const { command, env, noteFlushes } = this.#program;
    rmSync(this.socketPath, { force: true });
    this.#sizeAtStart = existsSync(join(this.#folder, 'appendonlydir')) ? this.fileBytes : 0;
    this.#process = tied(spawn(command, [...serverArguments(this.#folder, this.socketPath), ...this.#settings], {
      env: { ...env, ...(noteFlushes === undefined ? {} : { LD_PRELOAD: noteFlushes, FSYNC_LOG: join(this.#folder, 'flushed') }) },
      stdio: 'ignore',
    }));
    const { pid } = this.#process;
    const greeting = await pollUntil(async () => {
      const found = await greetRedis(this.socketPath, pid);
      return found.kind === 'absent' || found.kind === 'loading' ? undefined : found;
    }, startPatience);
    if (greeting === undefined) throw new Error(`redis does not start: ${existsSync(join(this.#folder, 'redis.log')) ? readFileSync(join(this.#folder, 'redis.log'), 'utf8').slice(-500) : command}`);
    this.#admin = new Redis({ path: this.socketPath, maxRetriesPerRequest: 1 });
    this.#admin.on('error', () => undefined);
  }

  get admin(): Redis {
    if (!this.#admin) throw new Error('redis is not running');
    return this.#admin;
  }

  /** A restart that everybody could have announced. */
  async restart(): Promise<void> {
    await this.#end('SIGTERM');
    this.#keep();
    await this.start();
  }

  /**
   * The power goes and comes back. `atLeastBytes` is the size to keep where flushes are not noted. Returns how many bytes
   * of the file were lost.
   */
  async powerCut(atLeastBytes: number): Promise<number> {
    const file = this.#currentFile();
    await this.#end('SIGKILL');
    this.#keep();
    const written = statSync(file).size;
    const kept = Math.min(written, this.isNoted ? this.#flushedBytes(file) : atLeastBytes);
    truncateSync(file, kept);
    await this.start();
    return written - kept;
  }

  /** A copy to go back to. */
  copy(): string {
    this.#copies += 1;
    const path = join(this.#folder, `copy-${this.#copies}`);
    cpSync(join(this.#folder, 'appendonlydir'), path, { recursive: true });
    return path;
  }

  /** The server forgets everything since the copy. */
  async rollBack(copy: string): Promise<void> {
    await this.#end('SIGKILL');
    this.#keep();
    rmSync(join(this.#folder, 'appendonlydir'), { recursive: true });
    renameSync(copy, join(this.#folder, 'appendonlydir'));
    await this.start();
  }

  async flushAll(): Promise<void> {
    await this.admin.flushall();
  }

  /** From now on nothing can be written that needs memory, however much is freed; `false`: as much as one likes. */
  async fill(isFull: boolean): Promise<void> {
    await this.admin.config('SET', 'maxmemory', isFull ? '1' : '0');
  }

  get fileBytes(): number {
    return statSync(this.#currentFile()).size;
  }

  async stop(): Promise<void> {
    if (!this.#process) return;
    await this.#end('SIGTERM');
    this.#keep();
    rmSync(this.socketPath, { force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#admin?.disconnect();
    this.#admin = undefined;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  #currentFile(): string {
    const folder = join(this.#folder, 'appendonlydir');
    const names = readdirSync(folder).filter((name) => name.endsWith('.incr.aof')).sort((a, b) => Number(/\.(\d+)\.incr/.exec(a)?.[1]) - Number(/\.(\d+)\.incr/.exec(b)?.[1]));
    const last = names.at(-1);
    if (last === undefined) throw new Error('redis has no append-only file');
    return join(folder, last);
  }

  #flushedBytes(file: string): number {
    const note = join(this.#folder, 'flushed');
    if (!existsSync(note)) return this.#sizeAtStart;
    const pair = readFileSync(note);
    return pair.readBigUInt64LE(0) === BigInt(statSync(file).ino) ? Number(pair.readBigUInt64LE(8)) : this.#sizeAtStart;
  }

  #keep(): void {
    const path = join(this.#folder, `history-${this.history.length}.aof`);
    copyFileSync(this.#currentFile(), path);
    this.history.push(path);
  }
}
