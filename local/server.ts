/**
 * Servers that belong to a home and are shared by its processes: started by the first that needs one, used by all,
 * adopted when their starter was killed, stopped by the last process that leaves. This file owns the records in
 * `<home>/servers/`; what kind of server it is, how to start and how to recognise it, comes from `redis.ts` and
 * `shared-server.ts`. Everything here runs under the lock of the home.
 *
 * A record of a Redis: `{"name": "redis", "process": {"pid": 4711, "startedAt": "183427", …},
 * "address": "/home/ana/etl/.plimsoll/redis/redis.sock", "mark": "0f3c…"}`.
 *
 * - V1 At most one server of a name runs in a home. A new one starts only when the recorded one is certainly gone.
 * - V2 The pid is recorded before the program begins, so there is no server without a record.
 * - V3 A server is used only after it has answered as the recorded one, and signalled only while pid and start match.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { spawnGated, stopProcess, type Launch, type OutputFiles } from './launch.ts';
import { pollUntil } from './poll.ts';
import { judgeLiveness, type ProcessIdentity } from './process-identity.ts';
import { processIdentitySchema, readRecord, writeRecord } from './record.ts';

/**
 * What a server says when it is spoken to. `mark` is what it alone can know (Redis: its run id), empty if it has none.
 * `loading`: somebody is there and not ready. `absent`: nobody is there (yet). `foreign`: it is certainly not ours.
 */
export type Greeting =
  | { readonly kind: 'answers'; readonly address: string; readonly mark: string }
  | { readonly kind: 'loading' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'foreign'; readonly detail: string };

/** One kind of server. `launch` is asked only when one must be started; `greet` must come back within seconds. */
export interface ServerKind {
  readonly name: string;
  readonly logPath: string;
  launch(): Promise<Launch>;
  greet(process: ProcessIdentity): Promise<Greeting>;
}

/** A server this process may use. `isAdopted`: it was already running. */
export interface JoinedServer {
  readonly address: string;
  readonly isAdopted: boolean;
}

/** Why a server of a home cannot be had. `hint` says what to do next. */
export class ServerFailure extends Error {
  override readonly name = 'ServerFailure';
  readonly code: 'server_start_failed' | 'server_foreign' | 'server_elsewhere';
  readonly hint: string;

  constructor(code: 'server_start_failed' | 'server_foreign' | 'server_elsewhere', message: string, hint: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

/** `address` and `mark` are null from the moment the process exists until it has answered for the first time. */
const serverSchema = z.object({
  name: z.string(),
  process: processIdentitySchema,
  address: z.string().nullable(),
  mark: z.string().nullable(),
});
type ServerRecord = z.infer<typeof serverSchema>;

/** Loading a large AOF takes minutes and shows as `loading`; a server that nobody can reach at all gets less time. */
const answerPatience = { limitMs: 600_000, firstMs: 10, longestMs: 250 };
const absentLimitMs = 30_000;

/**
 * Gives the server of that kind: the recorded one if it still runs and answers as itself, else a new one.
 *
 * Raises `ServerFailure`: `server_start_failed` (it died or stayed silent), `server_foreign` (something else answers in
 * its place), `server_elsewhere` (the record is of another machine, which may still be using the data).
 */
export async function joinServer(home: string, kind: ServerKind): Promise<JoinedServer> {
  await mkdir(join(home, 'servers'), { recursive: true, mode: 0o700 });
  const record = await readRecord(recordPath(home, kind.name), serverSchema);
  const adopted = record === undefined ? undefined : await adopt(home, kind, record);
  return adopted ?? start(home, kind);
}

/** Stops every server of this home that runs on this machine. Call it when the last process leaves. */
export async function stopServers(home: string): Promise<void> {
  const names = await readdir(join(home, 'servers')).catch((): string[] => []);
  for (const name of names.filter((candidate) => candidate.endsWith('.json'))) {
    const path = join(home, 'servers', name);
    const record = await readRecord(path, serverSchema);
    if (record === undefined) continue;
    const liveness = judgeLiveness(record.process);
    if (liveness === 'hidden' || liveness === 'elsewhere') continue;
    await stopProcess(record.process);
    await rm(path, { force: true });
  }
}

/** Where the output of a server goes. Its first line on stdout may be its address. */
export function outputFiles(home: string, name: string): OutputFiles {
  return { stdout: join(home, 'servers', `${name}.out`), stderr: join(home, 'servers', `${name}.err`) };
}

async function adopt(home: string, kind: ServerKind, record: ServerRecord): Promise<JoinedServer | undefined> {
  const liveness = judgeLiveness(record.process);
  if (liveness === 'dead') return undefined;
  if (liveness === 'elsewhere') {
    throw new ServerFailure(
      'server_elsewhere',
      `The ${kind.name} server of this home was started on ${record.process.host}.`,
      `One home serves one machine. If that one is gone for good, delete ${recordPath(home, kind.name)}.`,
    );
  }
  const answer = await awaitAnswer(kind, record.process);
  switch (answer.kind) {
    case 'answers':
      if (record.mark !== null && record.mark !== answer.mark) throw foreign(kind, 'its id is not the recorded one');
      await writeRecord(recordPath(home, kind.name), { ...record, address: answer.address, mark: answer.mark });
      return { address: answer.address, isAdopted: true };
    case 'ended':
      return undefined;
    case 'absent':
      // It is ours and alive, yet nobody can reach it, for example because its socket file was deleted. Another
      // container's server that does not listen on a socket of this very kernel has ended with its container.
      await stopProcess(record.process);
      return undefined;
    case 'foreign':
      throw foreign(kind, answer.detail);
    case 'loading':
      throw await startFailed(home, kind, `is running as process ${record.process.pid} but gives no answer`);
  }
}

async function start(home: string, kind: ServerKind): Promise<JoinedServer> {
  const launch = await kind.launch();
  const gated = await spawnGated(launch, outputFiles(home, kind.name));
  const record: ServerRecord = { name: kind.name, process: gated.identity, address: null, mark: null };
  try {
    await writeRecord(recordPath(home, kind.name), record); // V2
  } catch (error) {
    gated.abandon();
    throw error;
  }
  await gated.release();
  const answer = await awaitAnswer(kind, gated.identity);
  if (answer.kind === 'answers') {
    await writeRecord(recordPath(home, kind.name), { ...record, address: answer.address, mark: answer.mark });
    return { address: answer.address, isAdopted: false };
  }
  await stopProcess(gated.identity);
  await rm(recordPath(home, kind.name), { force: true });
  if (answer.kind === 'foreign') throw foreign(kind, answer.detail);
  const end = answer.kind === 'ended' ? 'ended before it gave an answer' : 'was started but gives no answer';
  throw await startFailed(home, kind, end);
}

type Answer = Greeting | { readonly kind: 'ended' };

/** Waits until the server answers, ends, proves foreign, or has been `absent` or `loading` for too long. */
async function awaitAnswer(kind: ServerKind, process: ProcessIdentity): Promise<Answer> {
  let absentSince = performance.now();
  const answer = await pollUntil(async (): Promise<Answer | undefined> => {
    const greeting = await kind.greet(process);
    if (greeting.kind === 'answers' || greeting.kind === 'foreign') return greeting;
    const liveness = judgeLiveness(process);
    if (liveness === 'dead') return { kind: 'ended' };
    if (greeting.kind === 'loading') absentSince = performance.now();
    const isLost = liveness === 'hidden' || performance.now() - absentSince > absentLimitMs;
    return greeting.kind === 'absent' && isLost ? greeting : undefined;
  }, answerPatience);
  return answer ?? { kind: 'loading' };
}

function foreign(kind: ServerKind, detail: string): ServerFailure {
  return new ServerFailure(
    'server_foreign',
    `Something else answers where the ${kind.name} server of this home should: ${detail}.`,
    'Stop it, or choose another PLIMSOLL_HOME. It was asked who it is, and nothing else was sent to it.',
  );
}

async function startFailed(home: string, kind: ServerKind, what: string): Promise<ServerFailure> {
  const text = await readFile(outputFiles(home, kind.name).stderr, 'utf8').catch(() => '');
  const lastLine = text.trim().split('\n').at(-1) ?? '';
  const said = lastLine === '' ? '' : ` Its last words: ${lastLine}`;
  return new ServerFailure('server_start_failed', `The ${kind.name} server of this home ${what}.${said}`, `Read its log: ${kind.logPath}`);
}

function recordPath(home: string, name: string): string {
  return join(home, 'servers', `${name}.json`);
}
