/** `quota show`: who is in which tier, and how much of its limits is used now. */
import { suggest } from '../config/suggest.ts';
import { isoTime } from '../exporters/encode.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { ClientRecord, TierAssignment } from '../segments/ledger/ledger.ts';
import type { QuotaRate } from '../segments/quota.ts';
import type { Installation } from './compose.ts';
import { spanText } from './deferred.ts';
import { countText, print, printJson, tableText } from './terminal.ts';
import { tierNameOf } from './tiers.ts';

interface Shown {
  readonly record: ClientRecord;
  readonly tier: string | undefined;
  readonly word: TierAssignment | undefined;
}

/** Shows one client, or all that anybody has named. @throws PlimsollError `client_unknown` */
export async function showClients(installation: Installation, only: string | undefined, isJson: boolean): Promise<ExitCode> {
  const { config, ledger, now } = installation;
  const assigned = await ledger.readTiers();
  const known = [...new Set([...Object.keys(config.clients), ...(await ledger.listClients())])].sort();
  if (only !== undefined && !known.includes(only)) throw clientUnknown(only, known);
  const shown = await Promise.all((only === undefined ? known : [only]).map(async (client): Promise<Shown> => ({
    record: await ledger.readClient(client, now()), word: assigned.find((each) => each.client === client),
    // What an operator has said is shown also where the configuration at hand has no such tier.
    tier: assigned.find((each) => each.client === client)?.tier ?? tierNameOf(config, assigned, client),
  })));
  if (isJson) printJson({ at: isoTime(now()), clients: shown.map((each) => documentOf(installation, each)) });
  else if (shown.length === 0) print('No client is known yet: prompts name theirs with "client", or --client does.');
  else showAll(installation, shown);
  return 0;
}

/** The error for a client that nobody has named. */
export function clientUnknown(client: string, known: readonly string[]): PlimsollError {
  const near = suggest(client, known);
  return new PlimsollError('client_unknown', {
    message: `nothing is known of a client ${JSON.stringify(client)}`,
    where: client,
    hint: near === undefined ? 'A client is known from its first prompt on, or when the configuration or plimsoll quota set names it.' : `Did you mean ${near}?`,
  });
}

function sourceOf({ tier, word }: Shown, config: Installation['config'], client: string): 'operator' | 'config' | 'default' | null {
  if (word) return 'operator';
  if (tier === undefined) return null;
  return Object.hasOwn(config.clients, client) && config.clients[client]?.tier !== undefined ? 'config' : 'default';
}

function documentOf({ config }: Installation, shown: Shown): object {
  const { record, tier, word } = shown;
  const limits = tier === undefined ? undefined : config.tiers[tier];
  const rate = (of: (name: QuotaRate) => number | null): object => ({ requests_per_minute: of('requestsPerMinute'), requests_per_day: of('requestsPerDay'), tokens_per_minute: of('tokensPerMinute'), tokens_per_day: of('tokensPerDay') });
  const today = record.days.at(-1);
  return {
    client: record.client,
    tier: tier ?? null,
    set_by: sourceOf(shown, config, record.client),
    operator: word ? { by: word.by, set_at: isoTime(word.setAtMs), ordinal: word.ordinal } : null,
    limits: limits ? { ...rate((name) => limits[name] ?? null), context_tokens: limits.contextTokensMax ?? null, priorities: limits.priorities, metadata: limits.metadata, over: limits.over } : null,
    now: rate((name) => record.admitted[name]),
    last_call_at: record.lastCallAtMs === undefined ? null : isoTime(record.lastCallAtMs),
    interval_ms: record.intervalMs ?? null,
    last_day: today ? { day: today.day, requests: today.requests, tokens: today.tokens, requests_over: today.requestsOver, tokens_over: today.tokensOver, context_tokens: today.contextTokensMax } : null,
  };
}

function showAll({ config }: Installation, shown: readonly Shown[]): void {
  const used = ({ record, tier }: Shown, rate: QuotaRate): string => {
    const allowed = tier === undefined ? undefined : config.tiers[tier]?.[rate];
    return allowed === undefined ? countText(record.admitted[rate]) : `${countText(record.admitted[rate])} / ${countText(allowed)}`;
  };
  print(tableText(['client', 'tier', 'set by', 'prompts/min', 'prompts/day', 'tokens/min', 'tokens/day', 'largest', 'interval'], shown.map((each) => [
    each.record.client, tierText(config, each.tier), each.word?.by ?? sourceOf(each, config, each.record.client) ?? '-',
    ...(['requestsPerMinute', 'requestsPerDay', 'tokensPerMinute', 'tokensPerDay'] as const).map((rate) => used(each, rate)),
    contextText(config, each), each.record.intervalMs === undefined ? '-' : spanText(each.record.intervalMs),
  ]), 3));
  for (const { record } of shown) {
    const day = record.days.at(-1);
    if (day && day.requestsOver > 0) print(`${record.client}: ${countText(day.requestsOver)} of ${countText(day.requests)} prompts of ${day.day} were over its tier. A tier that fits: plimsoll quota suggest ${record.client}`);
  }
}

function tierText(config: Installation['config'], tier: string | undefined): string {
  if (tier === undefined) return 'none';
  return Object.hasOwn(config.tiers, tier) ? tier : `${tier} (not in the configuration)`;
}

function contextText(config: Installation['config'], { record, tier }: Shown): string {
  const allowed = tier === undefined ? undefined : config.tiers[tier]?.contextTokensMax;
  const largest = countText(Math.max(0, ...record.days.map((day) => day.contextTokensMax)));
  return allowed === undefined ? largest : `${largest} / ${countText(allowed)}`;
}
