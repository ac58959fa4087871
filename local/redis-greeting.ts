import { createConnection } from 'node:net';
import { Redis } from 'ioredis';
import { pollUntil } from './poll.ts';
import { hasCode } from './record.ts';
import type { Greeting } from './server.ts';
import { RedisUnavailable } from './unavailable.ts';

/** A Redis that is busy loading, or a process that accepts and says nothing, gets this long for one reply. */
const replyTimeoutMs = 2_000;
const longestReply = 1_000_000;
const namedPatience = { limitMs: 10_000, firstMs: 100, longestMs: 1_000 };

/**
 * Asks a Redis on a Unix socket who it is: one `INFO`, which is answered during loading too. Speaks the protocol
 * itself, because a client that reconnects, checks readiness and retries would blur the answers told apart here.
 * `expectedPid`: a server with another `process_id` is foreign; undefined where pids cannot be compared.
 */
export async function greetRedis(socketPath: string, expectedPid: number | undefined): Promise<Greeting> {
  return new Promise((resolve) => {
    let reply = '';
    const socket = createConnection(socketPath);
    const settle = (greeting: Greeting): void => {
      resolve(greeting);
      socket.destroy();
    };
    socket.setEncoding('latin1'); // One character per byte, so that the announced length can be compared.
    socket.setTimeout(replyTimeoutMs, () => settle({ kind: 'loading' }));
    socket.on('connect', () => socket.write('*1\r\n$4\r\nINFO\r\n'));
    socket.on('data', (text: string) => {
      reply += text;
      const greeting = judgeReply(reply, socketPath, expectedPid);
      if (greeting !== undefined) settle(greeting);
    });
    socket.on('error', (error) => {
      if (['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].some((code) => hasCode(error, code))) settle({ kind: 'absent' });
      // A full backlog: somebody who does not get round to accepting.
      else if (hasCode(error, 'EAGAIN')) settle({ kind: 'loading' });
      else settle({ kind: 'foreign', detail: `${socketPath} cannot be used (${error.message})` });
    });
    // Closed before a whole answer: a server on its way down, or gone.
    socket.on('close', () => settle({ kind: 'absent' }));
  });
}

/** undefined: not yet complete. The reply is `$<length>\r\n<name>:<value>\r\n…`, or an error line that begins with `-`. */
function judgeReply(reply: string, socketPath: string, expectedPid: number | undefined): Greeting | undefined {
  const headEnd = reply.indexOf('\r\n');
  if (headEnd === -1 && reply.length < 1_000) return undefined;
  if (reply.startsWith('-LOADING')) return { kind: 'loading' };
  const head = /^\$(\d+)\r\n/.exec(reply);
  const unlike: Greeting = { kind: 'foreign', detail: `${socketPath} does not answer like a private Redis` };
  if (head === null || Number(head[1]) > longestReply) return unlike;
  if (reply.length < headEnd + 2 + Number(head[1])) return undefined;
  const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(reply)?.[1];
  const mark = field('run_id');
  if (mark === undefined) return unlike;
  if (expectedPid !== undefined && field('process_id') !== String(expectedPid)) {
    return { kind: 'foreign', detail: `${socketPath} is served by process ${field('process_id')}, not by ${expectedPid}` };
  }
  return field('loading') === '0' ? { kind: 'answers', address: socketPath, mark } : { kind: 'loading' };
}

/**
 * Confirms that the Redis the operator named answers, within 10 s (it may be coming up beside us). The message names
 * the host, never the credentials. Raises `RedisUnavailable` `redis_not_found`.
 */
export async function confirmNamedRedis(url: string): Promise<void> {
  let reason = '';
  const answer = await pollUntil(async () => {
    const limits = { connectTimeout: 3_000, commandTimeout: 3_000, retryStrategy: () => null };
    const client = new Redis(url, { lazyConnect: true, ...limits });
    client.on('error', (error: Error) => { reason = error.message; });
    try {
      await client.connect();
      return await client.ping();
    } catch (error) {
      if (reason === '' && error instanceof Error) reason = error.message;
      return undefined;
    } finally {
      client.disconnect();
    }
  }, namedPatience);
  if (answer !== undefined) return;
  throw new RedisUnavailable(
    'redis_not_found',
    `The Redis at ${withoutCredentials(url)}, named by REDIS_URL, does not answer (${reason}).`,
    'Start it, correct REDIS_URL, or unset REDIS_URL to let Plimsoll start a private Redis.',
  );
}

function withoutCredentials(url: string): string {
  if (!URL.canParse(url)) return 'the given address';
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}
