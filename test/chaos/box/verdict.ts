/**
 * What a schedule proves: the provider's books and the lake, judged by the oracle of all tiers; and the ledger, where an
 * invariant is about the ledger. It also counts what was reached.
 */
import type { Redis } from 'ioredis';
import { parseCustomId } from '../../../segments/pack.ts';
import { listingBreaches, rowBreaches, rowsOf, type LakeRow, type LakeView } from '../oracle.ts';
import { account, idOf, textOf, type World } from './crew.ts';
import type { Accepted } from './provider.ts';

/** Calls after which the money in the ledger may stand otherwise. */
export const moneyCalls: ReadonlySet<string> = new Set(['ledger.admit', 'ledger.settle', 'ledger.bookLeak', 'ledger.split', 'ledger.rejectArchive', 'ledger.halveArchive', 'ledger.forgoIntent']);

const sampleLua = `local found = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'accounts')) do
  local amounts = redis.call('HMGET', KEYS[1] .. 'account:' .. name, 'tokensReserved', 'tokensSpent', 'microUsdReserved', 'microUsdSpent')
  local limits = redis.call('HMGET', KEYS[1] .. 'budget:' .. string.match(name, '^(.*)@'), 'tokens', 'microUsd')
  found[#found + 1] = { name, amounts[1] or '', amounts[2] or '', amounts[3] or '', amounts[4] or '', limits[1] or '', limits[2] or '' }
end
return found`;

/** I7: in every account nothing is below zero, and reserved and spent stay within the limit. */
export async function sampleBudgets(redis: Redis, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for (const [name, ...amounts] of (await redis.call('EVAL', sampleLua, '1', prefix)) as string[][]) {
    const [tokensReserved = 0, tokensSpent = 0, usdReserved = 0, usdSpent = 0] = amounts.slice(0, 4).map(Number);
    if (tokensReserved < 0 || usdReserved < 0) found.push(`I7: ${name} has ${tokensReserved} tokens and ${usdReserved} micro-USD reserved`);
    if (amounts[4] && tokensReserved + tokensSpent > Number(amounts[4])) found.push(`I7: ${name} has ${tokensReserved} + ${tokensSpent} of ${amounts[4]} tokens`);
    if (amounts[5] && usdReserved + usdSpent > Number(amounts[5])) found.push(`I7: ${name} has ${usdReserved} + ${usdSpent} of ${amounts[5]} micro-USD`);
  }
  return found;
}

/** Judges a world in which nothing moves any more. */
export async function judgeWorld(world: World, round: number): Promise<{ readonly breaches: readonly string[]; readonly coverage: Record<string, number> }> {
  const { ledger, run, store, provider, rig } = world;
  const found: string[] = [];
  const coverage: Record<string, number> = {};
  const count = (name: string, times = 1): void => void (coverage[name] = (coverage[name] ?? 0) + times);
  const record = await ledger.readRun(run);
  const isEnded = record?.state === 'complete' || record?.state === 'canceled';
  if (!isEnded) found.push(`I14: the run is ${record?.state ?? 'gone'} after ${round} rounds, ${record?.rowsHeld ?? 0} rows held, left over: ${await leftOver(world)}`);
  const own = provider.accepted.filter((batch) => !batch.isForeign);

  // I4: the batches that the provider accepted, by the archive that their ids name. One that was made although the reply
  // was a refusal breaks an assumption of the protocol: it may be a second one, but it must be known as a leak.
  const wanted = own.filter((batch) => !batch.isAgainstReply);
  const byArchive = new Map<string, number>();
  for (const batch of wanted) byArchive.set(archiveOf(batch), (byArchive.get(archiveOf(batch)) ?? 0) + 1);
  for (const [archive, times] of byArchive) if (times > 1) found.push(`I4: ${archive} was accepted ${times} times`);

  const lake: LakeView = { uri: store.uri, keys: () => [...store.objects.keys()], read: (key) => store.objects.get(key) ?? Buffer.alloc(0) };
  const rows = rowsOf(lake);
  if (isEnded) {
    const all = Array.from({ length: rig.rows }, (_, index) => idOf(index));
    // Of a canceled run every acknowledged prompt is accounted for: as many as the ledger has acknowledged.
    const isWhole = record.state === 'complete' || record.accepted === rig.rows;
    const seen = new Set(rows.map((row) => row.id));
    found.push(...rowBreaches(rows, isWhole ? all : all.filter((id) => seen.has(id))));
    if (rows.length !== record.accepted) found.push(`I1: ${rows.length} rows in the lake, ${record.accepted} were acknowledged`);
    found.push(...listingBreaches(lake, run));
  }
  for (const row of rows) {
    count(row.status === 'dead_lettered' ? `reason ${row.reason ?? 'none'}` : `status ${row.status}`);
    const breach = contentBreach(row) ?? reasonBreach(row, world);
    if (breach !== undefined) found.push(breach);
  }

  // I5, once everything has ended: every batch is bound to an archive or is known as a leak.
  const claims = await ledger.readClaims(account, own.map((batch) => batch.id));
  if (isEnded) for (const batch of own) if (!claims.has(batch.id)) found.push(`I5: ${batch.id} of ${archiveOf(batch)} is bound to nothing`);
  const accounts = await ledger.listAccounts();
  const [all, leak] = ['all', 'leak'].map((target) => accounts.find((each) => each.target === target));
  const forgone = forgoneOf(world);
  const [least, most] = billOf(own.filter((batch) => claims.has(batch.id)), forgone, provider);
  const booked = (all?.tokensSpent ?? 0) + (leak?.tokensSpent ?? 0);
  // A row whose result could never be read is booked at its bound.
  const isExact = !own.some((batch) => provider.unreadable.has(batch.id));
  if (isEnded && (booked < least || (isExact && booked > most))) found.push(`I6: the ledger has ${booked} tokens spent, the provider billed ${least}${most > least ? ` to ${most}` : ''}`);
  for (const [archive, { isSentAgain }] of forgone) if (isSentAgain) found.push(`I4: ${archive} was sent again after it was given up`);
  if (isEnded && accounts.some((each) => each.tokensReserved !== 0 || each.microUsdReserved !== 0)) found.push('I8: something stays reserved');
  for (const batch of own) for (const row of batch.rows) count(`row ${row.kind}`);
  for (const [form, times] of provider.forms) count(`list ${form}`, times);
  for (const [name, times] of provider.classes) count(`create ${name}`, times);
  if ([...claims.values()].some((claim) => claim.kind === 'leaked')) count('leak booked');

  const events = await ledger.readEvents(0, 10_000);
  if (events.some((event, index) => event.sequence !== index + 1)) found.push('I12: the sequence of events has a gap');
  const told = new Set<string>();
  for (const { id } of events) {
    if (told.has(id)) found.push(`I12: the event ${id} was written twice`);
    told.add(id);
  }
  if (events.some((event) => event.type === 'batch.leaked' && event.data['is_covered'] === true)) count('leak covered');
  const exported = new Set(events.filter((event) => event.type === 'batch.exported').map((event) => event.subject));
  for (const key of lake.keys()) {
    const archive = /^runs\/.*\/archives\/([^/]+)\.json$/.exec(key)?.[1];
    if (isEnded && archive !== undefined && !exported.has(archive)) found.push(`I12: ${archive} was exported and no event tells it`);
  }
  return { breaches: found, coverage };
}

interface Forgone {
  /** What its rows can cost at most, as it was sealed. */
  readonly tokensMax: number;
  /** It has an intent that is newer than the one that was given up. */
  readonly isSentAgain: boolean;
}

/** The archives whose rows the lake has as given up. */
function forgoneOf({ store, run }: World): ReadonlyMap<string, Forgone> {
  const found = new Map<string, Forgone>();
  const read = (key: string): unknown => JSON.parse((store.objects.get(key) ?? Buffer.alloc(0)).toString('utf8'));
  for (const key of store.objects.keys()) {
    const archive = /^journal\/outcomes\/[^/]+\/([^/]+)\.json$/.exec(key)?.[1];
    if (archive === undefined || !(read(key) as { dead: { reason: string }[] }).dead.some(({ reason }) => reason === 'submission_in_doubt')) continue;
    const sealed = read(`journal/archives/${run}/${archive}.json`) as { chunks: { tokensMax: number }[] };
    const ordinals = (pattern: RegExp): number[] => [...store.objects.keys()].flatMap((each) => pattern.exec(each)?.[1] ?? []).map(Number);
    const given = Math.max(...ordinals(new RegExp(`/${archive}-i(\\d+)\\.forgone\\.json$`)));
    const newest = Math.max(...ordinals(new RegExp(`^journal/intents/.*/${archive}-i(\\d+)\\.json$`)));
    found.set(archive, { tokensMax: sealed.chunks.reduce((sum, chunk) => sum + chunk.tokensMax, 0), isSentAgain: newest !== given });
  }
  return found;
}

/**
 * What the ledger may have booked for these batches, at least and at most: each of them once, and of an archive that was
 * given up its bounds in the place of the one batch that they cover, whichever of several that was.
 */
function billOf(batches: readonly Accepted[], forgone: ReadonlyMap<string, Forgone>, provider: World['provider']): readonly [least: number, most: number] {
  let [least, most] = [0, 0];
  for (const [archive, { tokensMax }] of forgone) {
    const bills = batches.filter((batch) => archiveOf(batch) === archive).map((batch) => provider.billOf(batch));
    least += tokensMax - Math.max(0, ...bills);
    most += tokensMax - (bills.length === 0 ? 0 : Math.min(...bills));
  }
  const billed = batches.reduce((sum, batch) => sum + provider.billOf(batch), 0);
  return [least + billed, most + billed];
}

/** Archives that have not ended, with their states. */
async function leftOver({ ledger, run }: World): Promise<string> {
  const archives = await Promise.all((await ledger.listArchives(run)).map(async (id) => await ledger.readArchive(id)));
  return archives.filter((each) => each && !['exported', 'canceled'].includes(each.state)).map((each) => `${each?.archive} ${each?.state}${each?.reason === undefined ? '' : ` (${each.reason})`} by ${each?.intent ?? 'nobody'} ${each?.batch ?? ''}`).join(', ');
}

function archiveOf(batch: Accepted): string {
  return parseCustomId(batch.customIds[0] ?? '')?.archive ?? 'foreign';
}

/** I9: an answer is the provider's answer to this very prompt. */
function contentBreach(row: LakeRow): string | undefined {
  if (row.status !== 'succeeded') return undefined;
  const index = Number(row.id.slice(idOf(0).length - 1));
  return JSON.stringify(row).includes(`answer to ${textOf(index)}"`) ? undefined : `I9: ${row.id} has the answer to another prompt`;
}

/** I13: the reason of a dead letter is one that this world gave cause for. */
function reasonBreach(row: LakeRow, { rig, provider }: World): string | undefined {
  if (row.status !== 'dead_lettered') return undefined;
  const { plan } = rig;
  const hasRefusals = (status: 400 | 413): boolean => plan.poison?.status === status || plan.createFaults.includes(`refused_${status}`);
  const causes: Readonly<Record<string, boolean>> = {
    invalid_request: plan.erroredRate > 0 || hasRefusals(400),
    too_large: hasRefusals(413),
    account_fault: plan.accountFaultRate > 0,
    attempts_exhausted: plan.erroredRate > 0,
    expired: plan.expiredRate > 0,
    deadline: rig.deadlineMs !== undefined,
    canceled: rig.cancelRound !== undefined,
    submission_in_doubt: rig.forgoes,
    canceled_externally: plan.canceledRate > 0,
    result_missing: provider.unreadable.size > 0,
    result_conflict: provider.unreadable.size > 0,
  };
  return causes[row.reason ?? ''] === true ? undefined : `I13: ${row.id} is dead for ${row.reason ?? 'no reason'}, which nothing here gave cause for`;
}
