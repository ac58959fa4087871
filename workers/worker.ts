/**
 * The door of `workers/`: the loop that runs stages. It turns wake-ups into calls of a stage, and outcomes into due
 * times and new wake-ups; it alone talks to BullMQ about jobs of stages.
 *
 * It owns: which entity is handled now, and when a fault is tried again. The ledger owns what there is to do.
 *
 * Invariants
 *   D1  A stage that throws is tried again later; nothing is marked done that was not. Where the ledger refuses everything,
 *       because it is behind or being rebuilt, nothing is tried again: the owner of the process is told and ends it.
 *   D2  A claimed entity is handled by one worker at a time; the claim ends by itself if the worker dies.
 *   D3  After `drain` resolves no stage of this process runs.
 *   D4  From the call of `drain` on no stage of this process begins anything new, also one that loops: what it began within
 *       the grace would be cut off at the end of it, and a create that is cut off is a doubt.
 *   D5  A job is only a wake-up: a ghost job, a newer one, or one too many changes nothing. A newer one is put off for those
 *       that understand it, which is told once a stage.
 */
import { setMaxListeners } from 'node:events';
import { DelayedError, Worker as BullWorker, type Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { stageQueueName, type JobPayload } from '../config/queues.ts';
import { InvariantBroken, PlimsollError } from '../segments/errors.ts';
import type { Ledger } from '../segments/ledger/ledger.ts';
import type { Log, Now, StageHandler } from '../segments/stage.ts';
import type { Wake } from '../segments/wake.ts';
import { putOff, readJob } from './newer-jobs.ts';
import { startSweeper } from './sweeper.ts';

export interface WorkerDependencies {
  readonly handlers: readonly StageHandler[];
  readonly ledger: Ledger;
  readonly wake: Wake;
  /** A connection with `maxRetriesPerRequest: null`, which the caller closes. */
  readonly redis: Redis;
  /** BullMQ's key prefix of the installation. */
  readonly queuePrefix: string;
  readonly owner: string;
  readonly claimLeaseMs: number;
  readonly sweepIntervalMs: number;
  readonly now: Now;
  readonly log: Log;
  /** Told each time the ledger refuses a stage or the sweeper because it is behind or being rebuilt; not logged here. */
  readonly onBehind: (fault: PlimsollError) => void;
}

export interface Worker {
  /** Stops taking work, lets what runs finish for at most `graceMs`, then aborts it. */
  drain(graceMs: number): Promise<void>;
}

const lockMs = 10_000;
const stalledMs = 5_000;
const passingFaultMs = 5_000;
const lastingFaultMs = 30_000;

/** Starts all stages of this process. */
export function startWorker(dependencies: WorkerDependencies): Worker {
  const { handlers, redis, queuePrefix, log } = dependencies;
  const abort = new AbortController();
  // Every call of every stage listens to it: a warning of a leak at the eleventh would be wrong.
  setMaxListeners(0, abort.signal);
  const draining = new AbortController();
  setMaxListeners(0, draining.signal);
  const running = new Set<Promise<void>>();
  const busy = new Set<string>();
  const names = new Set(handlers.map((handler) => handler.stage));
  if (names.size !== handlers.length) throw new Error('a stage has two handlers');

  const workers = handlers.map((handler) => {
    let isNewerTold = false;
    const process = async (job: Job<JobPayload>, token?: string): Promise<void> => {
      const read = readJob(job);
      if (read.kind !== 'known') {
        if (read.kind === 'ghost' || !isNewerTold) log({ level: 'warn', event: 'job.not_understood', subject: String(job.id), detail: { stage: handler.stage, version: read.version, isNewer: read.kind === 'newer' } });
        isNewerTold ||= read.kind === 'newer';
        // BullMQ is told by this error that the job stands elsewhere now.
        if (read.kind === 'newer' && (await putOff(job, token))) throw new DelayedError();
        return;
      }
      const run = runStage(dependencies, handler, read.entity, busy, abort.signal, draining.signal);
      running.add(run);
      await run.finally(() => running.delete(run));
    };
    const worker = new BullWorker<JobPayload>(stageQueueName(handler.stage), process, {
      connection: redis,
      prefix: queuePrefix,
      concurrency: handler.concurrency,
      lockDuration: lockMs,
      stalledInterval: stalledMs,
      maxStalledCount: 1_000_000,
      drainDelay: 5,
    });
    worker.on('error', (error) => log({ level: 'debug', event: 'queue.fault', subject: handler.stage, detail: { error: error.name } }));
    return worker;
  });
  const sweeper = startSweeper(dependencies);

  return {
    async drain(graceMs) {
      draining.abort();
      await sweeper.stop();
      const timer = setTimeout(() => abort.abort(), graceMs);
      const closing = Promise.all(workers.map(async (worker) => await worker.close()));
      // Closing waits for the jobs that run; an abort makes them end where a crash would.
      await closing;
      await Promise.allSettled([...running]);
      clearTimeout(timer);
      abort.abort();
    },
  };
}

/** Handles one entity once: claim, act, release. Never throws (D1). `busy` names what this process is at. */
export async function runStage(dependencies: Pick<WorkerDependencies, 'ledger' | 'owner' | 'claimLeaseMs' | 'now' | 'log' | 'onBehind'>, handler: StageHandler, entity: string, busy: Set<string>, signal: AbortSignal, drain?: AbortSignal): Promise<void> {
  const { ledger, owner, claimLeaseMs, now, log, onBehind } = dependencies;
  const { stage } = handler;
  const task = `${stage}|${entity}`;
  // The ledger's claim belongs to the process: it would give the same entity to two jobs of one process (D2).
  if (handler.isClaimed && busy.has(task)) return;
  busy.add(task);
  let renewal: NodeJS.Timeout | undefined;
  try {
    if (handler.isClaimed) {
      if (!(await ledger.claim(stage, entity, owner, claimLeaseMs, now()))) return;
      renewal = setInterval(() => void ledger.claim(stage, entity, owner, claimLeaseMs, now()).catch(() => undefined), claimLeaseMs / 3);
    }
    const outcome = await handler.handle(entity, signal, drain);
    clearInterval(renewal);
    if (handler.isClaimed) await ledger.release(stage, entity, owner, outcome.kind === 'later' ? outcome.atMs : undefined);
  } catch (error) {
    clearInterval(renewal);
    const isExpected = error instanceof PlimsollError;
    // A claim cannot be given up there either: the rebuild makes due times anew.
    if (isExpected && error.code === 'ledger_behind') return onBehind(error);
    const isPassing = isExpected && error.disposition === 'retry';
    log({
      level: isPassing || signal.aborted ? 'warn' : 'error',
      event: 'stage.fault',
      subject: entity,
      detail: { stage, code: isExpected ? error.code : 'defect', where: isExpected ? error.where : undefined, message: messageOf(error), hint: isExpected ? error.hint : undefined },
    });
    if (handler.isClaimed) await ledger.release(stage, entity, owner, now() + (isPassing ? passingFaultMs : lastingFaultMs)).catch(() => undefined);
  } finally {
    busy.delete(task);
  }
}

/** Our own messages hold names and numbers only; a stranger's message might quote its input, so only its name is told. */
function messageOf(error: unknown): string {
  if (error instanceof PlimsollError || error instanceof InvariantBroken) return error.message;
  return error instanceof Error ? `${error.name} at ${frameOf(error)}` : 'not an error';
}

function frameOf(error: Error): string {
  return error.stack?.split('\n').find((line) => line.trimStart().startsWith('at '))?.trim().replace(/\(?file:\/\/.*\//, '(') ?? 'an unknown place';
}
