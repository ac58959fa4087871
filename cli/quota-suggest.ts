/** `quota suggest`: the smallest tier that would have admitted what a client did, and what the difference costs. */
import type { ExitCode } from '../segments/errors.ts';
import { dateOf } from '../segments/lake.ts';
import type { ClientDay } from '../segments/ledger/ledger.ts';
import { microUsdToUsd } from '../segments/price.ts';
import { totalTokens } from '../segments/segment.ts';
import { spendFacts } from '../segments/spend.ts';
import { readSpending } from '../segments/store/spending.ts';
import type { Store } from '../segments/store/store.ts';
import { monthDays, monthlyMicroUsd, peaksOf, shortfallsOf, smallestTier, type ClientPeaks } from '../segments/tier-choice.ts';
import type { Installation } from './compose.ts';
import { clientUnknown } from './quota-show.ts';
import { countOf, countText, dollarText, print, printJson } from './terminal.ts';
import { tierNameOf } from './tiers.ts';

const dayMs = 86_400_000;

/** What the days show, and what a month like them costs. Money is micro-USD; undefined: nothing was settled that tells. */
interface Findings {
  readonly peaks: ClientPeaks;
  readonly overTokens: number;
  readonly overRequests: number;
  /** Tokens and money that were billed in those days. */
  readonly used: { readonly tokens: number; readonly microUsd: number };
  /** A month of all that was handed in, and of what the tier has admitted without delay, at what tokens really cost. */
  readonly monthly: { readonly tokens: number; readonly microUsd: number | undefined; readonly admittedMicroUsd: number | undefined };
}

/** Proposes a tier. @throws PlimsollError `client_unknown` */
export async function suggestTier({ config, ledger, store, now }: Installation, client: string, days: number, isJson: boolean): Promise<ExitCode> {
  const nowMs = now();
  const since = dateOf(nowMs - (days - 1) * dayMs);
  const record = await ledger.readClient(client, nowMs);
  if (record.days.length === 0) throw clientUnknown(client, (await ledger.listClients()).filter((each) => each !== client));
  const seen = record.days.filter(({ day }) => day >= since);
  const findings = await findingsOf(store, client, seen, spanOf(record.days, since, nowMs, days), since);
  const current = tierNameOf(config, await ledger.readTiers(), client);
  const tiers = Object.entries(config.tiers).map(([name, tier]) => ({ name, tier }));
  const found = smallestTier(tiers, findings.peaks, findings.monthly);
  const named = tiers.map(({ name, tier }) => ({ name, metadata: tier.metadata, shortfalls: shortfallsOf(tier, findings.peaks, findings.monthly), monthlyMicroUsd: monthlyMicroUsd(tier) }));
  if (isJson) printJson(documentOf(client, since, nowMs, findings, current, found?.name, named));
  else print(textOf(client, findings, current, found?.name, named).join('\n'));
  return 0;
}

/** The days that the statistics stand for: as many as were asked for, but none before the first that was measured. */
function spanOf(days: readonly ClientDay[], since: string, nowMs: number, asked: number): number {
  const first = days[0]?.day ?? since;
  return first <= since ? asked : Math.floor(nowMs / dayMs) - Math.floor(Date.parse(first) / dayMs) + 1;
}

async function findingsOf(store: Store, client: string, days: readonly ClientDay[], spanDays: number, since: string): Promise<Findings> {
  const peaks = peaksOf(days, spanDays);
  const overTokens = days.reduce((sum, day) => sum + day.tokensOver, 0);
  const overRequests = days.reduce((sum, day) => sum + day.requestsOver, 0);
  let [tokens, microUsd, rows] = [0, 0, 0];
  const sinceMs = Date.parse(since);
  for await (const outcome of readSpending(store)) {
    for (const fact of spendFacts(outcome)) {
      if (fact.client !== client || fact.endedAtMs < sinceMs) continue;
      tokens += totalTokens(fact.usage);
      microUsd += fact.microUsd;
      rows += fact.succeeded + fact.deadLettered;
    }
  }
  // Priced by the prompt: what settled prompts of this client have really cost, not what their tokens were expected to.
  const monthOf = (requests: number): number | undefined => (rows === 0 ? undefined : Math.round((microUsd / rows) * (requests / spanDays) * monthDays));
  return {
    peaks, overTokens, overRequests, used: { tokens, microUsd },
    monthly: { tokens: Math.round((peaks.tokens / spanDays) * monthDays), microUsd: monthOf(peaks.requests), admittedMicroUsd: monthOf(peaks.requests - overRequests) },
  };
}

type Named = readonly { readonly name: string; readonly metadata: readonly string[]; readonly shortfalls: readonly string[]; readonly monthlyMicroUsd: number | undefined }[];

function documentOf(client: string, since: string, nowMs: number, findings: Findings, current: string | undefined, found: string | undefined, named: Named): object {
  const { peaks, monthly, used } = findings;
  const usd = (microUsd: number | undefined): number | null => (microUsd === undefined ? null : microUsdToUsd(microUsd));
  const difference = monthly.microUsd === undefined || monthly.admittedMicroUsd === undefined ? undefined : monthly.microUsd - monthly.admittedMicroUsd;
  const priced = (name: string | undefined): object | null => {
    const tier = named.find((each) => each.name === name);
    return tier ? { tier: tier.name, too_small: tier.shortfalls, metadata: tier.metadata, budget_usd_per_month: usd(tier.monthlyMicroUsd) } : null;
  };
  return {
    client, since, until: dateOf(nowMs), days: peaks.days,
    measured: {
      requests: peaks.requests, tokens: peaks.tokens, requests_per_day_max: peaks.requestsPerDay, tokens_per_day_max: peaks.tokensPerDay,
      requests_per_minute_max: peaks.requestsPerMinute, tokens_per_minute_max: peaks.tokensPerMinute, context_tokens_max: peaks.contextTokensMax, requests_over: findings.overRequests, tokens_over: findings.overTokens,
    },
    used: { tokens: used.tokens, usd: usd(used.microUsd) },
    current: priced(current),
    suggested: priced(found),
    expected_usd_per_month: { all: usd(monthly.microUsd), admitted: usd(monthly.admittedMicroUsd), difference: usd(difference) },
    tiers: named.map((each) => priced(each.name)),
  };
}

function textOf(client: string, findings: Findings, current: string | undefined, found: string | undefined, named: Named): readonly string[] {
  const { peaks, monthly, used, overRequests } = findings;
  const money = monthly.microUsd === undefined || monthly.admittedMicroUsd === undefined
    ? 'no batch of it has been settled in these days, so nothing is known of its cost'
    : `${dollarText(monthly.microUsd)} a month for all of it, ${dollarText(monthly.admittedMicroUsd)} for what its tier admitted at once: ${dollarText(monthly.microUsd - monthly.admittedMicroUsd)} between them (${dollarText(used.microUsd)} billed in these days)`;
  const now = named.find(({ name }) => name === current);
  return [
    named.length === 0 ? `${client}: the configuration has no tiers to choose from` : found === undefined ? `${client}: no tier is large enough (${countOf(named.length, 'tier')} looked at)` : found === current ? `${client}: ${found} is the smallest tier that fits, and it is in it` : `${client}: ${current ?? 'none'} -> ${found}, the smallest tier that would have admitted everything`,
    `  measured  ${countOf(peaks.requests, 'prompt')} (${countText(overRequests)} over its tier) and ${countText(peaks.tokens)} tokens in ${countOf(peaks.days, 'day')}`,
    `  at most   ${countText(peaks.requestsPerDay)} prompts and ${countText(peaks.tokensPerDay)} tokens a day, ${countText(peaks.requestsPerMinute)} and ${countText(peaks.tokensPerMinute)} a minute, ${countText(peaks.contextTokensMax)} tokens in one prompt`,
    `  cost      ${money}`,
    ...(now && now.shortfalls.length > 0 ? [`  too small ${current}: ${now.shortfalls.join(', ')}`] : []),
    ...named.filter(({ name, monthlyMicroUsd: budget }) => (name === current || name === found) && budget !== undefined).map(({ name, monthlyMicroUsd: budget }) => `  budget    ${name} may spend ${dollarText(budget ?? 0)} a month`),
    ...named.filter(({ name, metadata }) => name === found && found !== current && metadata.length > 0).map(({ name, metadata }) => `  asks for  metadata ${metadata.join(', ')} in every prompt of ${name}`),
    ...(found === undefined || found === current ? [] : [`  next      plimsoll quota set ${client} --tier ${found} --by WHO --reason TEXT`]),
  ];
}
