/** What a caller reads whose client was over its tier: a document for programs, sentences for people. */
import { isoTime } from '../exporters/encode.ts';
import type { Deferred } from '../producers/producer.ts';
import { countsTokens, rateWindowMs } from '../segments/quota.ts';
import { ageText } from './status.ts';
import { countOf, countText } from './terminal.ts';

/** One client's answer for programs: times in ms, tokens as quotas count them. */
export function deferredDocument(part: Deferred): object {
  const { advice, delay } = part;
  return {
    client: part.client,
    tier: part.tier,
    action: part.over === 'refuse' ? 'refused' : 'fallback',
    reason: part.limit,
    limit: part.allowed,
    measured: part.measured,
    from_row: part.fromRow,
    decided_at: isoTime(part.decidedAtMs),
    prompts: part.requests,
    prompts_over: part.requestsOver,
    tokens: part.tokens,
    tokens_over: part.tokensOver,
    interval_ms: part.intervalMs,
    expected_delay_ms: delay?.expectedMs ?? null,
    longest_delay_ms: delay?.longestMs ?? null,
    delay_rests_on: delay ? { turnaround_ms: delay.turnaroundMs, turnarounds_seen: delay.turnaroundsSeen, prompts_in_line: delay.rowsInLine } : null,
    reduce: {
      prompts_per_call_max: advice.promptsMax ?? null,
      context_tokens: advice.contextTokens ?? null,
      call_interval_ms: advice.callIntervalMs,
      prompt_interval_ms: advice.promptIntervalMs,
    },
  };
}

/** One client's answer in words. */
export function deferredText(part: Deferred): string {
  const { client, tier, limit, allowed, measured, fromRow, requests, requestsOver, delay } = part;
  const window = rateWindowMs(limit) === 60_000 ? 'minute' : 'day';
  const unit = countsTokens(limit) ? 'tokens' : 'prompts';
  const fate = part.over === 'refuse' ? 'were refused' : delay ? 'wait in the lane fallback' : 'went through the lane fallback';
  const lines = [
    `deferred: the client ${client} is over its tier ${tier} (${limit}): ${countText(requestsOver)} of its ${countOf(requests, 'prompt')}, from line ${countText(fromRow)} on, ${fate}`,
    `  measured   ${countText(measured)} ${unit} in one ${window}, ${countText(allowed)} are allowed${part.intervalMs === null ? '' : `; its call before was ${spanText(part.intervalMs)} earlier`}`,
  ];
  if (delay) lines.push(`  expected   within ${spanText(delay.expectedMs)}${delay.turnaroundsSeen === 0 ? ' (the worst case of the provider: no batch has ended yet)' : ` (${countOf(delay.rowsInLine, 'prompt')} in line, ${spanText(delay.turnaroundMs)} for a batch)`}; within ${spanText(delay.longestMs)} if other work keeps coming. Budgets and holds may stop it`);
  lines.push(`  to reduce  ${adviceText(part)}`);
  return lines.join('\n');
}

function adviceText({ advice }: Deferred): string {
  const { promptsMax, contextTokens, callIntervalMs, promptIntervalMs } = advice;
  return [
    ...(promptsMax === undefined ? [] : [`hand in at most ${countOf(promptsMax, 'prompt')} like these at once`]),
    ...(contextTokens === undefined ? [] : [`shorten each by ${countText(contextTokens)} tokens on average`]),
    `or keep to one prompt in ${spanText(promptIntervalMs)}, one call like this in ${spanText(callIntervalMs)}`,
  ].join(', ');
}

/** A span of time; below a minute to the millisecond, because a rate may be many prompts a second. */
export function spanText(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : ms < 60_000 ? `${Math.ceil(ms / 1_000)} s` : ageText(ms);
}
