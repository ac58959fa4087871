import { join } from 'node:path';
import { findUnpackedRedis, installRedis, type RedisBinary } from './install.ts';
import { findExecutables, runCommand } from './run-command.ts';
import { installLines, RedisUnavailable } from './unavailable.ts';

/** Where to look, and whether the package manager may be asked. `announce` gets one line before anything is installed. */
export interface SearchOptions {
  readonly directory: string;
  readonly searchPath: string;
  readonly install: boolean;
  readonly announce: (line: string) => void;
}

type Probe = { readonly kind: 'usable' } | { readonly kind: 'unusable'; readonly reason: string };

/** BullMQ asks for Redis 6.2 or later (infrastructure.md 4); Valkey began at 7.2. */
const oldestVersion = { major: 6, minor: 2 };
const probeTimeoutMs = 10_000;

/**
 * Finds a Redis or Valkey to start privately: on the PATH, among what this home once unpacked, else through the
 * system's package manager (infrastructure.md, decision 1).
 *
 * Raises `RedisUnavailable` `redis_not_found`, whose message names each candidate that was rejected and why.
 */
export async function findRedisBinary(options: SearchOptions): Promise<RedisBinary> {
  const rejected: string[] = [];
  const firstUsable = async (candidates: readonly RedisBinary[]): Promise<RedisBinary | undefined> => {
    for (const candidate of candidates) {
      const probe = await probeBinary(candidate);
      if (probe.kind === 'usable') return candidate;
      rejected.push(`${candidate.command}: ${probe.reason}`);
    }
    return undefined;
  };

  const onPath = await serversOnPath(options.searchPath);
  const cache = join(options.directory, 'cache');
  const present = await firstUsable([...onPath, ...(await findUnpackedRedis(cache))]);
  if (present !== undefined) return present;

  if (!options.install) throw notFound('and installing one was refused', rejected);
  const attempt = await installRedis({
    platform: process.platform,
    isRoot: process.getuid?.() === 0,
    searchPath: options.searchPath,
    cache,
    announce: options.announce,
  });
  if (attempt.kind === 'failed') throw notFound(attempt.reason, rejected);
  const installed = await firstUsable([...attempt.candidates, ...(await serversOnPath(options.searchPath))]);
  if (installed !== undefined) return installed;
  throw notFound('and the one that was installed does not run', rejected);
}

/**
 * Runs `--version` before a binary is trusted: a server built for another C library is a perfectly executable file
 * that dies on every start (infrastructure.md 1.1), and then the candidate after it deserves its turn.
 */
export async function probeBinary(binary: RedisBinary): Promise<Probe> {
  const libraries = binary.libraryPath === '' ? [] : [`LD_LIBRARY_PATH=${binary.libraryPath}`];
  const result = await runCommand('/usr/bin/env', [...libraries, binary.command, '--version'], { timeoutMs: probeTimeoutMs });
  if (result.exitCode !== 0) return { kind: 'unusable', reason: `does not run (${firstLine(result.stderr)})` };
  const version = /\bserver v=(\d+)\.(\d+)\S*/i.exec(result.stdout);
  if (version === null) return { kind: 'unusable', reason: `is no Redis or Valkey (${firstLine(result.stdout)})` };
  const major = Number(version[1]);
  const isRecent = major > oldestVersion.major || (major === oldestVersion.major && Number(version[2]) >= oldestVersion.minor);
  if (isRecent) return { kind: 'usable' };
  return { kind: 'unusable', reason: `is version ${version[1]}.${version[2]}, and 6.2 or later is needed` };
}

/** Valkey first, wherever both are there: infrastructure.md, decision 1. */
async function serversOnPath(searchPath: string): Promise<RedisBinary[]> {
  const names = ['valkey-server', 'redis-server'];
  const commands = await Promise.all(names.map((name) => findExecutables(name, searchPath)));
  return commands.flat().map((command) => ({ command, libraryPath: '' }));
}

function notFound(reason: string, rejected: readonly string[]): RedisUnavailable {
  const why = rejected.length === 0 ? '' : ` Rejected: ${rejected.join('; ')}.`;
  return new RedisUnavailable('redis_not_found', `No Redis or Valkey server was found, ${reason}.${why}`, installLines);
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? '';
}
