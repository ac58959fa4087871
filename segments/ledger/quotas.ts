/** The part of the ledger that measures clients and knows their tiers. */
import type { Redis } from 'ioredis';
import { dateOf } from '../lake.ts';
import { quotaRates, type Deferral, type QuotaRate } from '../quota.ts';
import type { ClientDay, ClientRecord, TierAssignment } from './client.ts';
import { count, jsonOf, text, type Fields } from './decode.ts';
import type { LedgerKeys } from './keys.ts';
import type { Ledger } from './ledger.ts';
import type { Call } from './scripts.ts';

const minuteMs = 60_000;
const dayMs = 86_400_000;
/** The field that counts a rate, and the window that it is of. */
const fieldOf: Readonly<Record<QuotaRate, readonly [field: string, window: 'minute' | 'day']>> = {
  requestsPerDay: ['dayRequests', 'day'], tokensPerDay: ['dayTokens', 'day'], requestsPerMinute: ['minuteRequests', 'minute'], tokensPerMinute: ['minuteTokens', 'minute'],
};

/** The calls of the ledger that only quotas need. */
export function quotaCalls(redis: Redis, keys: LedgerKeys, call: Call): Pick<Ledger, 'measureClients' | 'setTier' | 'readTiers' | 'listClients' | 'readClient' | 'countLine'> {
  const hash = async (name: string): Promise<Fields> => await redis.hgetall(keys.of(name));
  return {
    async measureClients({ run, clients, nowMs }) {
      if (clients.length === 0) return { deferrals: new Map(), split: [] };
      const asked = clients.map(({ known, ...each }) => ({ ...each, ...(known && { known: JSON.stringify(known) }) }));
      const { deferrals, split } = (await call('measure-clients', { run, clients: asked, nowMs })) as { readonly deferrals: Readonly<Record<string, string>>; readonly split: readonly string[] };
      return { deferrals: new Map(Object.entries(deferrals).map(([client, decided]) => [client, JSON.parse(decided) as Deferral])), split };
    },
    setTier: async (assignment) => ((await call('set-tier', { ...assignment })) as { isSet: boolean }).isSet,
    async readTiers() {
      const words = await hash('tiers');
      return Object.keys(words).sort().map((client) => ({ client, ...(jsonOf(words, client, '{}', keys.of('tiers')) as Omit<TierAssignment, 'client'>) }));
    },
    listClients: async () => (await redis.smembers(keys.of('clients'))).sort(),
    async readClient(client, nowMs) {
      const [fields, days] = [await hash(`client:${client}`), await hash(`client:${client}:days`)];
      const starts = { minute: nowMs - (nowMs % minuteMs), day: nowMs - (nowMs % dayMs) };
      const admitted = (rate: QuotaRate): number => (count(fields, fieldOf[rate][1]) >= starts[fieldOf[rate][1]] ? count(fields, fieldOf[rate][0]) : 0);
      return {
        client,
        lastCallAtMs: text(fields, 'lastCallAtMs') === undefined ? undefined : count(fields, 'lastCallAtMs'),
        intervalMs: text(fields, 'intervalMs') === undefined ? undefined : count(fields, 'intervalMs'),
        admitted: Object.fromEntries(quotaRates.map((rate) => [rate, admitted(rate)])) as ClientRecord['admitted'],
        days: Object.entries(days).sort(([a], [b]) => Number(a) - Number(b)).map(([day, sums]) => decodeDay(Number(day), sums)),
      };
    },
    async countLine() {
      const segments = await redis.smembers(keys.of('segments'));
      const queued = await Promise.all(segments.map(async (segment) => await redis.hget(keys.of(`segment:${segment}`), 'rowsQueued')));
      const archives = await redis.zrange(keys.of('sealed'), 0, '-1');
      const sealed = await Promise.all(archives.map(async (archive) => await redis.hget(keys.of(`archive:${archive}`), 'rows')));
      const lanes = await redis.smembers(keys.of('lanes'));
      const sent = await Promise.all(lanes.map(async (lane) => await redis.hget(keys.of(`lane:${lane}`), 'rowsEnqueued')));
      return [...queued, ...sealed, ...sent].reduce((sum, rows) => sum + Number(rows ?? 0), 0);
    },
  };
}

/** `<requests> <tokens> <most of a minute: requests> <tokens> <largest context> <over: requests> <tokens>`, as the script writes it. */
function decodeDay(ordinal: number, sums: string): ClientDay {
  const [requests = 0, tokens = 0, requestsPerMinuteMax = 0, tokensPerMinuteMax = 0, contextTokensMax = 0, requestsOver = 0, tokensOver = 0] = sums.split(' ').map(Number);
  return { day: dateOf(ordinal * dayMs), requests, tokens, requestsPerMinuteMax, tokensPerMinuteMax, contextTokensMax, requestsOver, tokensOver };
}
