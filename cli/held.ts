/** One stop in words: what stands still, by which limit, how much is missing, and what would make it go on. */
import { durationText } from '../config/quantity.ts';
import type { StopRecord } from '../segments/ledger/ledger.ts';
import { countOf, countText, dollarText } from './terminal.ts';

const minuteMs = 60_000;

/** Two or three lines for a person. */
export function heldText(stop: StopRecord): string {
  const held = countOf(stop.rowsHeld, 'held row');
  switch (stop.reason) {
    case 'operator': {
      // What waits is held as a packer meets it, so the count may still be 0.
      const many = stop.rowsHeld === 0 ? '' : `: ${held}`;
      return stop.segment === ''
        ? `run ${stop.run ?? ''} is held by an operator${many}; nothing more of it is packed or sent\n  let it go: plimsoll resume ${stop.run ?? ''}`
        : `segment ${stop.segment} is held by an operator${many}; nothing more of it is packed\n  let it go: plimsoll resume ${stop.segment}`;
    }
    case 'bound_exceeded':
      return `segment ${stop.segment} is stopped (bound_exceeded): a row of it was billed above its upper bound, so no budget could be kept: ${held}\n  look at its error rows and texts first, then: plimsoll resume ${stop.segment}`;
    case 'spool_unreadable':
      return `a chunk of segment ${stop.segment} of run ${stop.run ?? ''} is held (spool_unreadable): ${stop.target} cannot be read: ${held}\n  it is tried again by itself; bring the object back, then: plimsoll resume ${stop.segment}; or give it up: plimsoll cancel ${stop.run ?? ''}`;
    case 'budget_runtime':
      return runtimeText(stop, held);
    default:
      return budgetText(stop, held);
  }
}

function runtimeText(stop: StopRecord, held: string): string {
  const first = `${scopeText(stop)} is stopped (budget_runtime): work that begins now is likely to outlast the runtime of ${stop.target}: ${held}`;
  if (!stop.runtime) return first;
  const { limitMs, startedAtMs, turnaroundMs, turnaroundsSeen, queueFillings, rowsBefore, queueRowsMax } = stop.runtime;
  const basis = turnaroundsSeen === 0 ? "the provider's worst case, because no archive was settled yet" : `the upper bound from the last ${countOf(turnaroundsSeen, 'archive')}`;
  return [
    first,
    `  an archive is expected to take up to ${roughly(turnaroundMs)} (${basis}); the runtime is ${roughly(limitMs)}, counted from ${new Date(startedAtMs).toISOString()}`,
    ...(queueFillings > 1 ? [`  ${countOf(rowsBefore, 'row')} go before it and the provider's queue takes ${countText(queueRowsMax)} (submit.queueRows), so up to ${queueFillings} times that`] : []),
    `  allow more: plimsoll budget set ${stop.target} --runtime ${durationText(Math.ceil((limitMs + turnaroundMs * queueFillings) / minuteMs) * minuteMs)}; or let it go once: plimsoll resume ${stop.segment}`,
  ].join('\n');
}

/** What a budget has stopped: a segment, or what one run or one client has in it. */
function scopeText({ segment, run, client }: StopRecord): string {
  return `segment ${segment}${run === undefined ? '' : ` of run ${run}`}${client === undefined ? '' : ` of client ${client}`}`;
}

/** Seconds below two minutes, whole minutes above. */
function roughly(ms: number): string {
  return durationText(ms < 2 * minuteMs ? Math.ceil(ms / 1000) * 1000 : Math.ceil(ms / minuteMs) * minuteMs);
}

function budgetText(stop: StopRecord, held: string): string {
  const missing: string[] = [];
  const tokensMissing = stop.tokensFree === undefined ? 0 : Math.max(0, stop.tokensHeld - stop.tokensFree);
  const microUsdMissing = stop.microUsdFree === undefined ? 0 : Math.max(0, stop.microUsdHeld - stop.microUsdFree);
  if (tokensMissing > 0) missing.push(`${countText(tokensMissing)} tokens`);
  if (microUsdMissing > 0) missing.push(dollarText(microUsdMissing));
  return [
    `${scopeText(stop)} is stopped (${stop.reason}): the budget of ${stop.target} has no room for ${held}`,
    `  their upper bound needs ${countText(stop.tokensHeld)} tokens, ${dollarText(stop.microUsdHeld)}; missing: ${missing.join(' and ') || 'nothing any more, it flows again by itself'}`,
    `  make room: plimsoll budget set ${stop.target} --tokens N | --usd X, or wait for settlements; what else would fit: plimsoll replan ${stop.segment}`,
  ].join('\n');
}
