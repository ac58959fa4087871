/**
 * The last resort for a Redis: the system's own package manager, as root or without. Nothing here decides whether
 * installing is allowed; the caller asked the operator. Every step is announced in one line before it runs, and the
 * full output is kept in `<home>/cache/install.log`.
 *
 * - N1 A package installed here never leaves a service behind: none is started, and none starts at the next boot. A
 *   service the operator already had is not touched.
 * - N2 The unpacked copy in the cache is whole or absent: it is renamed into place last.
 */
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findExecutables, runCommand, type CommandResult } from './run-command.ts';

/** A server program. `libraryPath` goes into LD_LIBRARY_PATH when it is not empty. */
export interface RedisBinary {
  readonly command: string;
  readonly libraryPath: string;
}

/** The environment that a server runs in; its messages are in English, whatever the machine speaks. */
export function serverEnvironment({ libraryPath }: RedisBinary): Readonly<Record<string, string>> {
  return { LC_ALL: 'C', ...(libraryPath === '' ? {} : { LD_LIBRARY_PATH: libraryPath }) };
}

/** `platform` as Node spells it, `cache` the cache folder of the home. */
export interface InstallOptions {
  readonly platform: NodeJS.Platform;
  readonly isRoot: boolean;
  readonly searchPath: string;
  readonly cache: string;
  readonly announce: (line: string) => void;
}

/** Where the server should now be; the caller probes before trusting. `reason` continues "No Redis was found, …". */
export type InstallAttempt =
  | { readonly kind: 'installed'; readonly candidates: readonly RedisBinary[] }
  | { readonly kind: 'failed'; readonly reason: string };

const installTimeoutMs = 600_000;
const refusal = '(refuse with --no-install)';

/** Installs Redis with apt (root, or unpacked privately without root) or brew; `failed` where there is neither. */
export async function installRedis(options: InstallOptions): Promise<InstallAttempt> {
  await mkdir(options.cache, { recursive: true });
  const has = async (name: string): Promise<boolean> => (await findExecutables(name, options.searchPath)).length > 0;
  if (options.platform === 'darwin' && (await has('brew'))) return installWithBrew(options);
  if (options.platform === 'linux' && (await has('apt-get')) && (await has('dpkg'))) {
    return options.isRoot ? installWithApt(options) : unpackWithApt(options);
  }
  return { kind: 'failed', reason: 'and there is no package manager here that could install one' };
}

/** The copy that an earlier `unpackWithApt` left in this cache, or nothing. */
export async function findUnpackedRedis(cache: string): Promise<RedisBinary[]> {
  const root = join(cache, 'redis');
  const servers = await findExecutables('redis-server', join(root, 'usr', 'bin'));
  if (servers.length === 0) return [];
  const libraries: string[] = [];
  for (const parent of [join(root, 'usr', 'lib'), join(root, 'lib')]) {
    const names = await readdir(parent).catch((): string[] => []);
    libraries.push(...names.filter((name) => name.includes('-linux-')).map((name) => join(parent, name)));
  }
  return servers.map((command) => ({ command, libraryPath: libraries.join(':') }));
}

/**
 * The Debian package enables and starts a service on port 6379 as it is configured. Three guards that leave no file
 * behind if this process is killed half-way: SYSTEMD_OFFLINE makes `systemctl start` a no-op, RUNLEVEL=1 makes
 * `invoke-rc.d` find nothing to start, and what was enabled for the next boot is disabled again afterwards.
 */
async function installWithApt(options: InstallOptions): Promise<InstallAttempt> {
  const run = runner(options, ['DEBIAN_FRONTEND=noninteractive', 'SYSTEMD_OFFLINE=1', 'RUNLEVEL=1']);
  const installed: InstallAttempt = { kind: 'installed', candidates: [{ command: '/usr/bin/redis-server', libraryPath: '' }] };
  const status = await run('dpkg-query', ['-W', '-f', '${Status}', 'redis-server']);
  // The operator has the package, only not on this PATH: there is nothing to install, and their service is theirs (N1).
  if (status.stdout === 'install ok installed') return installed;

  const install = ['-o', 'DPkg::Lock::Timeout=120', 'install', '-y', '--no-install-recommends', 'redis-server'];
  options.announce(`No Redis on the PATH: running "apt-get install -y redis-server" ${refusal}.`);
  let result = await run('apt-get', install);
  if (result.exitCode !== 0) {
    // Package lists that are missing, or so old that their versions are gone, both heal by an update.
    options.announce(`The package was not available: running "apt-get update", then the install again ${refusal}.`);
    await run('apt-get', ['update']);
    result = await run('apt-get', install);
  }
  if (result.exitCode !== 0) return failure('apt-get install -y redis-server', result, options);
  await silenceService(options);
  return installed;
}

/** Undoes what the package's scripts enabled. Each tool may be absent; where it is, there is nothing for it to undo. */
async function silenceService(options: InstallOptions): Promise<void> {
  const run = runner(options, []);
  await run('systemctl', ['disable', '--now', 'redis-server.service']);
  await run('service', ['redis-server', 'stop']);
  await run('update-rc.d', ['redis-server', 'disable']);
}

/**
 * Without root: private package lists, then the packages that are missing here, unpacked beside each other and run from
 * there (infrastructure.md 1.3 b). apt checks the signatures as always. The real program is in `redis-tools`, to which
 * the `redis-server` of the other package is a link, so both are needed.
 */
async function unpackWithApt(options: InstallOptions): Promise<InstallAttempt> {
  options.announce(`No Redis on the PATH: running "apt-get download redis-server redis-tools" into ${options.cache} ${refusal}.`);
  const work = await mkdtemp(join(options.cache, 'unpacking-'));
  try {
    const packages = join(work, 'packages');
    const root = join(work, 'root');
    for (const folder of [packages, root, join(work, 'state/lists/partial'), join(work, 'archives/partial')]) {
      await mkdir(folder, { recursive: true });
    }
    const settings = [
      ['Dir::State', join(work, 'state')],
      ['Dir::State::status', '/var/lib/dpkg/status'],
      ['Dir::Cache', work],
      ['Debug::NoLocking', '1'],
    ].flatMap(([key, value]) => ['-o', `${key}=${value}`]);
    const run = runner(options, ['LC_ALL=C'], packages);

    const update = await run('apt-get', [...settings, 'update']);
    if (update.exitCode !== 0) return failure('apt-get update', update, options);
    const plan = await run('apt-get', [...settings, '--simulate', 'install', '--no-install-recommends', 'redis-server']);
    const missing = [...plan.stdout.matchAll(/^Inst (\S+)/gm)].flatMap((match) => match[1] ?? []);
    const names = [...new Set(['redis-server', 'redis-tools', ...missing])];
    const download = await run('apt-get', [...settings, 'download', ...names]);
    if (download.exitCode !== 0) return failure('apt-get download', download, options);
    for (const file of await readdir(packages)) {
      const unpacked = await run('dpkg', ['-x', join(packages, file), root]);
      if (unpacked.exitCode !== 0) return failure('dpkg -x', unpacked, options);
    }
    await rm(join(options.cache, 'redis'), { recursive: true, force: true });
    await rename(root, join(options.cache, 'redis'));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return { kind: 'installed', candidates: await findUnpackedRedis(options.cache) };
}

/** brew starts no service by itself. Its own `bin` need not be on the PATH, so the prefix is asked for. */
async function installWithBrew(options: InstallOptions): Promise<InstallAttempt> {
  const run = runner(options, []);
  options.announce(`No Redis on the PATH: running "brew install redis" ${refusal}.`);
  const result = await run('brew', ['install', 'redis']);
  if (result.exitCode !== 0) return failure('brew install redis', result, options);
  const prefix = (await run('brew', ['--prefix'])).stdout.trim();
  return { kind: 'installed', candidates: [{ command: join(prefix, 'bin', 'redis-server'), libraryPath: '' }] };
}

type Run = (command: string, args: readonly string[]) => Promise<CommandResult>;

/** The operator's PATH first; the system folders after it, because package scripts need programs from `sbin`. */
function runner(options: InstallOptions, environment: readonly string[], workingDirectory?: string): Run {
  const path = `PATH=${options.searchPath}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin`;
  const settings = {
    timeoutMs: installTimeoutMs,
    logPath: join(options.cache, 'install.log'),
    ...(workingDirectory === undefined ? {} : { workingDirectory }),
  };
  return (command, args) => runCommand('/usr/bin/env', [path, ...environment, command, ...args], settings);
}

function failure(step: string, result: CommandResult, options: InstallOptions): InstallAttempt {
  const lastLine = result.stderr.trim().split('\n').at(-1) ?? '';
  return { kind: 'failed', reason: `and "${step}" failed (${lastLine}); its output is in ${join(options.cache, 'install.log')}` };
}
