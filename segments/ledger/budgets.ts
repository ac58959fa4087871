/**
 * The part of the ledger that keeps the economy: budgets, accounts and the stops that follow from them.
 *
 * The bounds of calendar windows are worked out here, where time zones are known, and handed to the scripts as integers.
 * A script that meets a budget whose window the request does not name says so before it touches anything, and is asked
 * again with that window. So a budget that another process has just set holds from its next call on, and nothing about
 * windows is stored that could be old: each call names the windows of its own instant.
 */
import type { Redis } from 'ioredis';
import type { SegmentName } from '../segment.ts';
import { windowAt, windowName, windowParts, type TimeWindow } from '../window.ts';
import { accountsKeptMs, type Budget, type StopRecord } from './account.ts';
import { count, decodeAccount, decodeSegment, decodeStop, text, type Fields } from './decode.ts';
import type { LedgerKeys } from './keys.ts';
import type { Ledger } from './ledger.ts';
import type { QueuedChunk } from './request.ts';
import type { Call } from './scripts.ts';

/** How often a script may name windows that it does not know: once, unless budgets are set while it is asked. */
const asksMax = 10;
/** How many accounts one look of a sweep takes. */
const accountsPerLook = 500;

/** Makes a caller for the scripts that look at windows; their requests have `nowMs`. */
export function callerInWindows(call: Call): Call {
  const current = new Map<string, TimeWindow>();
  const startAt = (name: string, atMs: number): number => {
    const known = current.get(name);
    if (known && known.startMs <= atMs && atMs < known.endMs) return known.startMs;
    const { window, timeZone } = windowParts(name);
    const found = windowAt(window, timeZone, atMs);
    if (!found) throw new RangeError(`${name} is no calendar window`);
    current.set(name, found);
    return found.startMs;
  };
  return async (name, request) => {
    const atMs = Number(request['nowMs']);
    for (let asks = 0; asks < asksMax; asks += 1) {
      const windows = Object.fromEntries([...current.keys()].map((window) => [window, startAt(window, atMs)]));
      const reply = await call(name, { ...request, windows });
      const unknown = (reply as { readonly unknownWindows?: readonly string[] }).unknownWindows;
      if (unknown === undefined) return reply;
      for (const window of unknown) startAt(window, atMs);
    }
    throw new Error(`${name} was asked ${asksMax} times, and each time there was another new window`);
  };
}

/** The calls of the ledger that only the economy needs. `call` is one of `callerInWindows`. */
export function budgetCalls(redis: Redis, keys: LedgerKeys, call: Call): Pick<
  Ledger,
  'stopOnBudget' | 'holdChunk' | 'resume' | 'resumeHeld' | 'setBudget' | 'tellForecast' | 'listBudgets' | 'listAccounts' | 'sweepAccounts' | 'listStops' | 'listSegments'
> {
  const hash = async (name: string): Promise<Fields> => await redis.hgetall(keys.of(name));
  const listStops = async (nowMs: number): Promise<readonly StopRecord[]> => ((await call('read-stops', { nowMs })) as Fields[]).map(decodeStop);
  return {
    stopOnBudget: async (request) => (await call('stop-on-budget', { ...request })) as Awaited<ReturnType<Ledger['stopOnBudget']>>,
    holdChunk: async (request) => (await call('hold-chunk', { ...request })) as Awaited<ReturnType<Ledger['holdChunk']>>,
    resume: async (target, nowMs) => (await call('resume', { ...(target.kind === 'segment' ? { segment: target.segment } : { run: target.run }), nowMs })) as Awaited<ReturnType<Ledger['resume']>>,
    resumeHeld: async (nowMs) => (await call('resume-held', { nowMs })) as QueuedChunk[],

    async setBudget({ timeZone, ...budget }, origin, nowMs) {
      await call('set-budget', { ...budget, window: windowName(budget.window, timeZone), origin, nowMs });
    },
    tellForecast: async ({ windowId, ...told }) => ((await call('tell-forecast', { ...told, account: `${told.target}@${windowId}` })) as { isTold: boolean }).isTold,
    async listBudgets() {
      const targets = (await redis.smembers(keys.of('budgets'))).sort();
      return await Promise.all(targets.map(async (target) => decodeBudget(target, await hash(`budget:${target}`))));
    },
    async listAccounts() {
      const names = (await redis.smembers(keys.of('accounts'))).sort();
      return await Promise.all(names.map(async (name) => decodeAccount(name, await hash(`account:${name}`))));
    },
    async sweepAccounts(nowMs) {
      let dropped = 0;
      for (let cursor = ''; cursor !== '0'; ) {
        const [next, names] = await redis.sscan(keys.of('accounts'), cursor === '' ? '0' : cursor, 'COUNT', accountsPerLook);
        const over = names.flatMap((name) => endedAccount(name, nowMs));
        if (over.length > 0) dropped += over.length - ((await call('drop-accounts', { accounts: over, keptMs: accountsKeptMs, nowMs })) as { kept: readonly string[] }).kept.length;
        cursor = next;
      }
      return dropped;
    },
    listStops,
    async listSegments(nowMs) {
      const stops = await listStops(nowMs);
      const names = (await redis.smembers(keys.of('segments'))).sort() as SegmentName[];
      return await Promise.all(names.map(async (name) => decodeSegment(name, await hash(`segment:${name}`), stops)));
    },
  };
}

/** An account whose window may be over: that of a run, or of a stretch of time that ended long enough ago. */
function endedAccount(name: string, nowMs: number): readonly { readonly name: string; readonly run?: string }[] {
  const [windowName, start] = name.slice(name.lastIndexOf('@') + 1).split(/=(.*)/s);
  if (windowName === undefined || start === undefined) return [];
  if (windowName === 'run') return [{ name, run: start }];
  const { window, timeZone } = windowParts(windowName);
  const bounds = windowAt(window, timeZone, Number(start));
  return bounds && bounds.endMs + accountsKeptMs <= nowMs ? [{ name }] : [];
}

function decodeBudget(target: string, fields: Fields): Budget {
  const amount = (name: string): number | undefined => (text(fields, name) === undefined ? undefined : count(fields, name));
  const { window, timeZone } = windowParts(fields['window'] ?? 'total');
  return {
    target,
    mode: fields['mode'] === 'estimate' ? 'estimate' : 'strict',
    tokens: amount('tokens'),
    microUsd: amount('microUsd'),
    runtimeMs: amount('runtimeMs'),
    onLate: fields['onLate'] === 'cancel' ? 'cancel' : 'wait',
    window,
    ...(timeZone === undefined ? {} : { timeZone }),
  };
}
