import { readFile } from 'node:fs/promises';
import { get } from 'node:http';
import type { Launch } from './launch.ts';
import { withLock } from './lock.ts';
import { listOccupants } from './occupancy.ts';
import { joinServer, outputFiles, type Greeting, type JoinedServer } from './server.ts';

/**
 * An HTTP server to share. `name` (letters and dashes) is unique in the home. The program must print its base URL,
 * on a loopback address, as its first line on stdout, and stop on SIGTERM. `announce` gets one line if another process
 * holds the home for long.
 */
export interface SharedServerOptions {
  readonly name: string;
  readonly spawn: Launch;
  readonly announce: (line: string) => void;
}

const answerTimeoutMs = 2_000;

/**
 * Gives the home's HTTP server of that name: started detached by the first process that asks, shared by all of them,
 * adopted if its starter was killed, and stopped by the last process to leave the home. A server that already runs is
 * used as it is, even if `spawn` has changed since.
 *
 * Raises `ServerFailure` (see `joinServer`), and an ordinary error when this process does not have the home open.
 */
export async function shareServer(home: { readonly directory: string }, options: SharedServerOptions): Promise<JoinedServer> {
  if (!/^[a-z][a-z-]*$/.test(options.name) || options.name === 'redis') {
    throw new Error(`"${options.name}" cannot name a shared server: small letters and dashes, and not "redis".`);
  }
  return withLock(home.directory, options, async () => {
    const occupants = await listOccupants(home.directory);
    // Nobody would stop the server if its starter were not counted among those who leave.
    if (!occupants.some((occupant) => occupant.pid === process.pid)) {
      throw new Error(`The home ${home.directory} is not open in this process.`);
    }
    const files = outputFiles(home.directory, options.name);
    return joinServer(home.directory, {
      name: options.name,
      logPath: files.stderr,
      launch: async () => options.spawn,
      greet: () => greetHttp(files.stdout),
    });
  });
}

/**
 * Any HTTP response will do: the recorded process is alive, its start time matches and the address is the one it
 * printed itself, so while it keeps the port nobody else can have it.
 */
async function greetHttp(stdoutPath: string): Promise<Greeting> {
  const text = await readFile(stdoutPath, 'utf8').catch(() => '');
  const lineEnd = text.indexOf('\n');
  if (lineEnd === -1) return { kind: 'absent' };
  const address = text.slice(0, lineEnd).trim();
  const isLoopback = URL.canParse(address) && ['127.0.0.1', '[::1]', 'localhost'].includes(new URL(address).hostname);
  if (!isLoopback || !address.startsWith('http://')) {
    return { kind: 'foreign', detail: 'its first line is not an http:// address of this machine' };
  }
  return new Promise((resolve) => {
    const settle = (greeting: Greeting): void => {
      resolve(greeting);
      request.destroy();
    };
    const target = new URL('/healthz', address);
    const request = get(target, { agent: false, timeout: answerTimeoutMs }, () => settle({ kind: 'answers', address, mark: '' }));
    request.on('timeout', () => settle({ kind: 'loading' }));
    request.on('error', () => settle({ kind: 'absent' }));
  });
}
