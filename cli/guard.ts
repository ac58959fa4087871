/** Proves that the ledger knows what the lake knows, before this process posts or takes prompts in, and while it works. */
import type { Redis } from 'ioredis';
import { behind, standingFault } from '../segments/ledger/behind.ts';
import { newestGeneration, openLedgerGuard, type LedgerGuard } from '../segments/ledger/guard.ts';
import { ledgerFault } from '../segments/ledger/refusal.ts';
import { openStanding } from '../segments/ledger/standing.ts';
import { carryOutWords } from '../segments/ledger/words.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { Installation } from './compose.ts';
import { applyTiers } from './tiers.ts';

export interface Watch {
  readonly guard: LedgerGuard;
  stop(): void;
}

/** How often an idle process looks whether the ledger is still the one that it started on. */
const lookEveryMs = 2_000;
/** Redis may be away for long; then the error at hand is told and not the ledger's. */
const explainMs = 2_000;

/** Opens the guard of the stages and keeps watching. @throws PlimsollError `ledger_behind` */
export async function watchLedger(installation: Installation, owner: string, onBehind: (fault: PlimsollError) => void): Promise<Watch> {
  const redis = installation.connect('stages');
  // The connection has its name before the ledger is looked at, so a rebuild that begins now sees this process.
  await redis.ping();
  const standing = openStanding(redis, installation.keys);
  const carryOut = async (): Promise<void> => {
    const { config, ledger, now } = installation;
    const { movedClients } = await carryOutWords({ ...installation, archiveRowsMax: config.archive.rowsMax });
    if (movedClients > 0) await applyTiers(config, ledger, now());
  };
  const guard = await openLedgerGuard({ ...installation, standing, carryOutWords: carryOut }, owner);
  let looking: Promise<void> | undefined;
  const look = async (): Promise<void> => {
    try {
      await guard.prove();
    } catch (error) {
      // Any other fault is a Redis or a lake that is away: whoever needs them says so.
      if (error instanceof PlimsollError && error.code === 'ledger_behind') onBehind(error);
    }
  };
  const timer = setInterval(() => {
    looking ??= look().finally(() => {
      looking = undefined;
    });
  }, lookEveryMs);
  timer.unref();
  return { guard, stop: () => clearInterval(timer) };
}

/** What a fault really is: when the ledger has forgotten what it was about, that is the fault. */
export async function explainByLedger(guard: LedgerGuard, error: unknown): Promise<unknown> {
  const patience = new Promise<unknown>((resolve) => setTimeout(resolve, explainMs, error).unref());
  const proof = guard.prove().then(() => error, (fault: unknown) => (fault instanceof PlimsollError && fault.code === 'ledger_behind' ? fault : error));
  return await Promise.race([proof, patience]);
}

/** Lets an operator decide something: what is written into the lake while the ledger is rebuilt may come too late for it. @throws PlimsollError `ledger_behind` */
export async function enterDecision(installation: Installation): Promise<void> {
  const redis = installation.connect();
  const found = await openStanding(redis, installation.keys).read().finally(() => redis.disconnect());
  const reason = standingFault(found);
  if (reason !== undefined) throw behind(reason, 'standing');
}

/**
 * Lets a producer begin; the connection shows others that it is at work, and its caller disconnects it.
 * @throws PlimsollError `ledger_behind`, `redis_refused`, and what the lake raises
 */
export async function enterIngest(installation: Installation): Promise<Redis> {
  const redis = installation.connect('ingest');
  try {
    // A Redis that cannot write its file refuses a ping as well, and a listener must outlive that.
    await redis.ping().catch((error: unknown) => {
      throw ledgerFault(error, 'ping');
    });
    const newest = await newestGeneration(installation.store);
    const found = await openStanding(redis, installation.keys).read();
    const reason = standingFault(found) ?? (found.generation < newest ? `the lake has seen generation ${newest}, the ledger is at ${found.generation}` : undefined);
    if (reason !== undefined) throw behind(reason, 'standing');
    return redis;
  } catch (error) {
    redis.disconnect();
    throw error;
  }
}
