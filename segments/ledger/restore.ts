/**
 * Writes derived records into Redis. The gate is shut before the first record is taken away and opened after the last one
 * is written, so a rebuild that is killed leaves a ledger that nobody posts on, and the next one begins again.
 *
 * Invariants
 *   Y1  Between `begin` and `end` nobody else changes the ledger: no reservation is taken and none is returned, no intent is
 *       prepared, no limit is set, no gate is opened.
 *   Y2  Every call may be sent twice: what is there already is left as it is.
 *   Y3  The outbox is kept and its numbers only grow.
 *   Y4  A record is written only while the gate is the one that this rebuild has shut: of two rebuilds at once the later one
 *       writes and forgets alone, and a Redis that is set back or flushed meanwhile gets no record of a rebuild that it knows nothing of.
 */
import type { Redis } from 'ioredis';
import { PlimsollError } from '../errors.ts';
import type { DerivedArchive, DerivedChunk, DerivedRun } from '../derive.ts';
import type { AccountSums } from '../derive-money.ts';
import type { RunKey, SegmentName } from '../segment.ts';
import { forgoneMs } from './doubts.ts';
import type { LedgerKeys } from './keys.ts';
import type { Ledger } from './ledger.ts';
import { openRedisLedger } from './redis.ts';
import { scriptCaller, type ScriptName } from './scripts.ts';

/** What a rebuild does as operators, producers and configuration do it. */
export type RebuildLedger = Pick<Ledger, 'setBudget' | 'cancelRun' | 'replanChunks' | 'hold' | 'holdIntent' | 'setTier' | 'measureClients'>;

export interface Restore {
  /** The ledger for this rebuild itself: the gate is open for its calls, once `begin` has shut it for everybody else. */
  readonly ledger: RebuildLedger;
  /** Shuts the gate: nobody changes anything any more. `epoch` is higher than that of any rebuild before. */
  begin(epoch: number, owner: string, nowMs: number): Promise<void>;
  /** Forgets everything but the outbox. @throws PlimsollError `ledger_behind`, as `run` does */
  forget(): Promise<void>;
  /** @throws PlimsollError `ledger_behind` when another rebuild has begun, or Redis was set back, since `begin` (Y4) */
  run(run: DerivedRun, nowMs: number): Promise<void>;
  /** Opens the gate. @throws PlimsollError `ledger_behind`, as `run` does */
  end(request: {
    readonly accounts: ReadonlyMap<string, AccountSums>;
    readonly overBound: readonly SegmentName[];
    /** What is known of what prompts consume, by topic and model. */
    readonly calibrations: DerivedRun['calibrations'];
    readonly generation: number;
    readonly epoch: number;
    readonly nowMs: number;
  }): Promise<void>;
}

type Fields = Readonly<Record<string, string>>;
/** Writes with one script, as the rebuild that has shut the gate. */
type Write = (name: ScriptName, request: Readonly<Record<string, unknown>>) => Promise<void>;

const chunksAtOnce = 200;
const keysAtOnce = 1_000;
/** Numbers of events after the nth rebuild begin here: no ledger writes a million million events between two rebuilds. */
const sequenceStep = 1_000_000_000_000;

/** Opens a rebuild of an installation's ledger. */
export function openRestore(redis: Redis, keys: LedgerKeys): Restore {
  const call = scriptCaller(redis, keys.prefix);
  let ours = 0;
  const write: Write = async (name, request) => {
    const reply = (await call(name, { ...request, epoch: ours })) as { readonly isOurs?: boolean };
    if (reply.isOurs === false) throw overtaken();
  };
  return {
    ledger: openRedisLedger(redis, keys, async (name, request) => await call(name, { ...request, rebuild: ours })),
    async begin(epoch, owner, nowMs) {
      ours = epoch;
      await call('restore-begin', { epoch, owner, sequence: epoch * sequenceStep, nowMs });
    },
    forget: async () => await forget(redis, keys, write),
    async run(run, nowMs) {
      const key = run.opening.run;
      const high = Object.fromEntries([...run.highWater].map(([lane, row]) => [lane, String(row)]));
      await write('restore-run', { run: key, fields: runFields(run), high, isDone: run.state === 'complete' || run.state === 'canceled', nowMs });
      for (let at = 0; at < run.chunks.length; at += chunksAtOnce) {
        const chunks = run.chunks.slice(at, at + chunksAtOnce).map((chunk) => ({ chunk: chunk.chunk, state: chunk.state, fields: chunkFields(chunk) }));
        await write('restore-chunks', { run: key, chunks });
      }
      for (const archive of run.archives) await restoreArchive(write, run, archive, key, nowMs);
    },
    async end({ accounts, overBound, calibrations, generation, epoch, nowMs }) {
      const rows = [...accounts].map(([name, sums]) => ({ name, fields: accountFields(sums) }));
      const reply = (await call('restore-end', { accounts: rows, overBound: [...overBound], calibrations: [...calibrations], generation, epoch, nowMs })) as { isEnded: boolean };
      if (!reply.isEnded) throw overtaken();
    },
  };
}

/** Deletes the keys of the installation, BullMQ's included; the standing, the lake's id, the outbox and how far its relays are stay (Y3). */
async function forget(redis: Redis, keys: LedgerKeys, write: Write): Promise<void> {
  const kept = new Set<string>([keys.of('standing'), keys.of('lake'), keys.of('events'), keys.of('events:sequence')]);
  for await (const names of redis.scanStream({ match: `${keys.prefix}*`, count: keysAtOnce })) {
    const gone = (names as string[]).filter((name) => !kept.has(name) && !name.startsWith(keys.of('relay')));
    if (gone.length > 0) await write('restore-forget', { names: gone.map((name) => name.slice(keys.prefix.length)) });
  }
}

function overtaken(): PlimsollError {
  return new PlimsollError('ledger_behind', {
    message: 'another rebuild has begun, or Redis was set back, while this one was at work',
    where: 'standing',
    hint: 'Let the other one finish; if there is none, run plimsoll recover again.',
  });
}

async function restoreArchive(write: Write, run: DerivedRun, archive: DerivedArchive, key: RunKey, nowMs: number): Promise<void> {
  const intents = archive.intents.map(({ intent, ...each }) => ({
    intent,
    fields: {
      state: each.state, reason: each.state === 'in_doubt' || each.state === 'forgone' ? archive.reason : '', archive: archive.archive, account: each.account, owner: each.owner, rows: String(each.rows),
      bodyBytes: String(each.bodyBytes), providerDateMs: String(each.providerDateMs), preparedAtMs: String(each.preparedAtMs), batch: each.batch,
      ...(each.forgoneAtMs === undefined ? {} : { rivalUntilMs: String(each.forgoneAtMs + forgoneMs) }),
    },
  }));
  const bytes = run.chunks.filter((chunk) => chunk.archive === archive.archive).reduce((sum, chunk) => sum + chunk.paramsBytes, 0);
  const fields: Fields = {
    reason: archive.reason, dt: run.opening.dt, priority: archive.priority, segment: '', closing: 'rebuilt', rows: String(archive.rows), paramsBytes: String(bytes),
    openedAtMs: String(run.opening.openedAtMs), bodyBytes: String(archive.bodyBytes), bodySha256: archive.bodySha256, sealedAtMs: String(run.opening.openedAtMs),
    intents: String(highestOrdinal(archive)), intent: archive.intent, account: archive.account, batch: archive.batch, acceptedAtMs: optional(archive.acceptedAtMs),
    endedAtMs: optional(archive.endedAtMs), exportedAtMs: archive.state === 'exported' ? optional(archive.endedAtMs ?? run.opening.openedAtMs) : '', epoch: '0',
  };
  await write('restore-archive', { archive: archive.archive, run: key, state: archive.state, fields, chunks: [...archive.chunks], intents, nowMs });
}

/** The next intent must have a name of its own. */
function highestOrdinal(archive: DerivedArchive): number {
  return Math.max(0, ...archive.intents.map(({ intent }) => Number(/-i(\d+)$/.exec(intent)?.[1] ?? 0)));
}

function runFields(run: DerivedRun): Fields {
  const { opening, sums, input } = run;
  return {
    state: run.state, reason: '', tag: opening.tag, dt: opening.dt, openedAtMs: String(opening.openedAtMs), source: opening.source, cutSha256: opening.cutSha256,
    retryOf: opening.retryOf ?? '', side: run.side ?? '', checkpointBytes: String(input?.bytes ?? 0), checkpointRows: String(input?.rows ?? 0), checkpointSha256: input?.sha256 ?? '',
    accepted: String(run.accepted), rejected: String(run.rejected), succeeded: String(sums.succeeded), deadLettered: String(sums.deadLettered), retried: String(sums.retried), notSampled: String(sums.notSampled),
    chunks: String(sums.chunks), chunksOpen: String(sums.chunksOpen), batches: String(sums.batches), microUsd: String(sums.microUsd),
    standardMicroUsd: String(sums.standardMicroUsd), archiveOrdinal: String(run.archiveOrdinal), ...usageFields(sums.usage),
    ...(run.completedAtMs === undefined ? {} : { finishedAtMs: String(run.completedAtMs) }),
    ...(run.result === undefined ? {} : { result: run.result }),
  };
}

function chunkFields(chunk: DerivedChunk): Fields {
  return {
    reason: '', segment: chunk.segment, client: chunk.client, attempt: String(chunk.attempt), spoolKey: chunk.spoolKey, spoolRows: String(chunk.spoolRows),
    spoolParamsBytes: String(chunk.spoolParamsBytes), spoolIndexBytes: String(chunk.spoolIndexBytes), from: String(chunk.from), to: String(chunk.to),
    rows: String(chunk.to - chunk.from + 1), paramsBytes: String(chunk.paramsBytes), tokensExpected: String(chunk.tokensExpected), tokensMax: String(chunk.tokensMax),
    microUsdMax: String(chunk.microUsdMax), archive: chunk.archive, reservation: chunk.reservation,
    models: chunk.models === undefined ? '' : JSON.stringify(chunk.models),
    ...(chunk.estimated === undefined ? {} : { estimated: JSON.stringify(chunk.estimated.accounts), tokensEstimated: String(chunk.estimated.tokens), microUsdEstimated: String(chunk.estimated.microUsd) }),
    ...(chunk.joined === undefined || chunk.joined.length === 0 ? {} : { joined: JSON.stringify(chunk.joined) }),
    ...(chunk.spent === undefined ? {} : { spent: spentText(chunk.spent) }),
    ...(chunk.archive === '' ? {} : { accounts: JSON.stringify(chunk.accounts) }),
  };
}

/** As `prelude/account.lua` keeps it. */
function spentText({ usage, microUsd, overBound }: NonNullable<DerivedChunk['spent']>): string {
  return [usage.inputTokens, usage.outputTokens, usage.cacheReadInputTokens, usage.cacheWriteInputTokens, usage.cacheWrite1hInputTokens, microUsd, overBound].join(' ');
}

function accountFields(sums: AccountSums): Fields {
  return {
    tokensReserved: String(sums.tokensReserved), tokensSpent: String(sums.tokensSpent), microUsdReserved: String(sums.microUsdReserved), microUsdSpent: String(sums.microUsdSpent),
    overBound: String(sums.overBound), startedAtMs: optional(sums.startedAtMs), ...usageFields(sums.usage),
  };
}

function usageFields(usage: AccountSums['usage']): Fields {
  return Object.fromEntries(Object.entries(usage).map(([name, tokens]) => [name, String(tokens)]));
}

function optional(value: number | undefined): string {
  return value === undefined ? '' : String(value);
}
