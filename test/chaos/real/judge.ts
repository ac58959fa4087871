/**
 * The oracle of a seed with real processes. It reads the provider's truth log and folders, the lake, what the processes
 * said, what the webhook got, and Redis' own append-only files; it asks the product nothing. Invariants are those of
 * reliability.md 6.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { deadLetterReasons } from '../../../segments/outcome.ts';
import { filesBelow, manifestBreaches } from '../oracle.ts';
import { readHistory, type History } from './history.ts';
import { archiveOf, forgoneOf, rowsOf, truthOf, type ArchiveManifest, type Forgone, type Remains, type Row, type Truth } from './remains.ts';

/** What the oracle found. */
export interface Findings {
  readonly breaches: readonly string[];
  readonly edges: Readonly<Record<string, number>>;
  readonly deadLetters: Readonly<Record<string, number>>;
  /** Classes of creates: `accepted`, `refused status_429`, `in_doubt connection_lost`. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Faults that the provider injected, by name, from its truth log. */
  readonly injected: Readonly<Record<string, number>>;
  readonly batches: number;
  /** Creates that reached the provider, accepted or not. */
  readonly creates: number;
  readonly rows: number;
}

/** Judges a seed. */
export function judge(remains: Remains): Findings {
  const breaches: string[] = [];
  const histories = remains.historyFiles.map((file) => readHistory(file, remains.prefix));
  const rows = rowsOf(remains.lake);
  const truth = truthOf(remains);
  const forgone = forgoneOf(remains.lake);
  const manifests = filesBelow(join(remains.lake, 'runs')).filter((file) => /\/archives\/[^/]+\.json$/.test(file)).map((file) => JSON.parse(readFileSync(file, 'utf8')) as ArchiveManifest);
  breaches.push(
    ...judgeRows(remains, rows), ...judgeBatches(truth, manifests, forgone, remains), ...judgeContent(rows, truth, remains.lake), ...judgeMoney(truth, manifests, rows, forgone, histories, remains),
    ...judgeForgone(forgone, rows),
    ...judgeEvents(histories, manifests, remains), ...judgeHygiene(remains, histories, truth),
    ...histories.flatMap((history) => history.breaches),
  );
  for (const [run, { isAcknowledged }] of remains.runs) if (isAcknowledged) breaches.push(...manifestBreaches(remains.lake, run, remains.uri));
  const deadLetters: Record<string, number> = {};
  for (const { status, reason } of rows) if (status === 'dead_lettered' && reason !== null) deadLetters[reason] = (deadLetters[reason] ?? 0) + 1;
  return { breaches: [...new Set(breaches)], edges: sumOf(histories.map((history) => history.edges)), deadLetters, outcomes: outcomesOf(remains.said), injected: truth.injected, batches: truth.batches.length, creates: truth.creates - remains.strangersCreates, rows: rows.length };
}

function sumOf(maps: readonly ReadonlyMap<string, number>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  // A file of the history begins with what the one before it held.
  for (const map of maps) for (const [name, times] of map) sum[name] = Math.max(sum[name] ?? 0, times);
  return sum;
}

/** I1, I2, I3, I13: every acknowledged prompt once, nothing invented, every reason from the list. */
function judgeRows(remains: Remains, rows: readonly Row[]): string[] {
  const found: string[] = [];
  // A retry is a run of its own with ids of the first.
  const nameOf = (run: string, id: string): string => `${run} ${id}`;
  const wanted = new Set([...remains.runs].flatMap(([run, { ids }]) => ids.map((id) => nameOf(run, id))));
  const seen = new Map<string, number>();
  let rejected = 0;
  for (const row of rows) {
    if (row.status === 'rejected') rejected += 1;
    else seen.set(nameOf(row.run_key, row.id), (seen.get(nameOf(row.run_key, row.id)) ?? 0) + 1);
    if (row.status === 'dead_lettered' && !deadLetterReasons.some((reason) => reason === row.reason)) found.push(`I13: ${row.id} is a dead letter for ${String(row.reason)}`);
  }
  for (const [run, { ids, isAcknowledged }] of remains.runs) {
    const missing = isAcknowledged ? ids.filter((id) => !seen.has(nameOf(run, id))) : [];
    if (missing.length > 0) found.push(`I1: ${missing.length} acknowledged prompts of ${run} are nowhere, first ${missing[0]}`);
  }
  const twice = [...seen].filter(([, times]) => times > 1);
  if (twice.length > 0) found.push(`I1: ${twice.length} prompts are there twice, first ${twice[0]?.[0]}`);
  const invented = [...seen.keys()].filter((id) => !wanted.has(id));
  if (invented.length > 0) found.push(`I2: ${invented.length} prompts are invented, first ${invented[0]}`);
  const bad = [...remains.runs.values()].reduce((sum, { badLines, isAcknowledged }) => sum + (isAcknowledged ? badLines : 0), 0);
  if (rejected < bad) found.push(`I1: ${bad} lines were bad, ${rejected} were rejected`);
  return found;
}

/** I4, I5: one batch per archive, every batch bound to exactly one archive. */
function judgeBatches(truth: Truth, manifests: readonly ArchiveManifest[], forgone: ReadonlyMap<string, Forgone>, remains: Remains): string[] {
  const found: string[] = [];
  const byArchive = new Map<string, string[]>();
  for (const batch of truth.batches) {
    const archives = new Set(batch.customIds.map((id) => archiveOf(id)));
    if (archives.size !== 1) found.push(`I4: batch ${batch.id} holds rows of ${archives.size} archives`);
    for (const archive of archives) byArchive.set(archive, [...(byArchive.get(archive) ?? []), batch.id]);
  }
  for (const [archive, ids] of byArchive) if (ids.length > 1) found.push(`I4: ${archive} was accepted ${ids.length} times: ${ids.join(', ')}`);
  const twice = [...truth.billed].filter(([, { times }]) => times > 1);
  if (twice.length > 0) found.push(`I4: ${twice.length} requests were billed twice, first ${twice[0]?.[0]}`);
  if (truth.retriedRequests > 0) found.push(`I4: the client library sent ${truth.retriedRequests} requests again`);
  const bound = manifests.flatMap(({ batch_id: id }) => (id === null ? [] : [id]));
  if (new Set(bound).size !== bound.length) found.push('I5: two archives are bound to one batch');
  if (remains.isEnded) {
    // A batch of what was given up is wanted no more.
    const orphans = truth.batches.filter(({ id, customIds }) => !bound.includes(id) && !forgone.has(archiveOf(customIds[0] ?? '')));
    if (orphans.length > 0) found.push(`I5: ${orphans.length} accepted batches belong to no archive, first ${orphans[0]?.id}`);
    const leaked = [...remains.said.join('\n').matchAll(/"subject":"(msgbatch_[^"]+)"[^\n]*"event":"batch\.leaked"/g)].map(([, id = '']) => id);
    const wanted = leaked.filter((id) => bound.includes(id));
    if (wanted.length > 0) found.push(`I5: ${wanted.length} batches were told as leaks and belong to an archive, first ${wanted[0]}`);
  }
  for (const id of bound) if (!truth.batches.some((batch) => batch.id === id)) found.push(`I5: a manifest names ${id}, which is not a batch of ours`);
  return found;
}

/** I9, I13: an exported row says what the provider said, and a dead letter's reason is true. */
function judgeContent(rows: readonly Row[], truth: Truth, lake: string): string[] {
  const found: string[] = [];
  const canceled = new Set(filesBelow(join(lake, 'journal/runs')).flatMap((file) => /\/([^/]+)\/canceled\.json$/.exec(file)?.[1] ?? []));
  const byBatch = new Map(truth.batches.map((batch) => [batch.id, new Set([...batch.results.values()].map((result) => JSON.stringify(result)))]));
  for (const row of rows) {
    if (row.status === 'rejected' || row.result === null || row.batch_id === null) continue;
    if (!byBatch.get(row.batch_id)?.has(JSON.stringify(row.result))) found.push(`I9: ${row.id} holds a result that batch ${row.batch_id} does not have`);
    const { type, error } = row.result as { type?: string; error?: { error?: { type?: string } } };
    const isPassing = type === 'expired' || (type === 'errored' && error?.error?.type !== 'invalid_request_error');
    const isTrue = row.status === 'succeeded' ? type === 'succeeded'
      : row.reason === 'expired' ? type === 'expired'
      : row.reason === 'canceled_externally' ? type === 'canceled'
      // What would go round again ends with its run, when that was canceled meanwhile.
      : row.reason === 'canceled' ? type === 'canceled' || (isPassing && canceled.has(row.run_key))
      : row.reason === 'invalid_request' || row.reason === 'account_fault' ? type === 'errored' && !isMisjudged(row.reason, error?.error?.type)
      : row.reason === 'attempts_exhausted' ? type === 'errored' || type === 'expired'
      : true;
    if (!isTrue) found.push(`I13: ${row.id} is ${row.status} for ${String(row.reason)}, the provider said ${String(type)}`);
  }
  return found.slice(0, 5);
}

/** I4, I13: what was given up was given up by somebody, and was never sent again. */
function judgeForgone(forgone: ReadonlyMap<string, Forgone>, rows: readonly Row[]): string[] {
  const found = [...forgone.values()].flatMap(({ archive, isDecided, isSentAgain }) => [
    ...(isDecided ? [] : [`I13: ${archive} was given up and nobody said so`]),
    ...(isSentAgain ? [`I4: ${archive} was sent again after it was given up`] : []),
  ]);
  const told = rows.filter(({ reason }) => reason === 'submission_in_doubt').length;
  const decided = [...forgone.values()].reduce((sum, each) => sum + each.rows, 0);
  return told > decided ? [...found, `I13: ${told} rows are dead letters of a doubt, ${decided} were given up`] : found;
}

/** I6, I8: the ledger equals the bill, where an archive that was given up counts with its bounds in the place of its batch, and nothing stays reserved. */
function judgeMoney(truth: Truth, manifests: readonly ArchiveManifest[], rows: readonly Row[], forgone: ReadonlyMap<string, Forgone>, histories: readonly History[], remains: Remains): string[] {
  const found: string[] = [];
  if (!remains.isEnded) return found;
  const last = histories.at(-1);
  const all = [...(last?.hashes ?? [])].find(([key]) => key.startsWith('account:all@'))?.[1];
  const billed = [...truth.billed].filter(([customId]) => !forgone.has(archiveOf(customId))).map(([, bill]) => bill);
  const bounds = [...forgone.values()];
  const tokens = billed.reduce((sum, each) => sum + each.tokens, 0) + bounds.reduce((sum, each) => sum + each.tokensMax, 0);
  const picoUsd = billed.reduce((sum, each) => sum + each.picoUsd, 0) + 1e6 * bounds.reduce((sum, each) => sum + each.microUsdMax, 0);
  // Rows without a trustworthy answer are booked at their bound: the bill is then a floor.
  const isFloor = rows.some(({ reason }) => reason === 'result_missing' || reason === 'result_conflict');
  const exported = manifests.reduce((sum, { usage }) => sum + usage.input_tokens + usage.output_tokens + usage.cache_read_input_tokens + usage.cache_write_input_tokens, 0);
  const spent = Number(all?.get('tokensSpent') ?? 0);
  if (isFloor ? exported < tokens : exported !== tokens) found.push(`I6: the manifests account for ${exported} tokens, the provider billed ${tokens}`);
  if (isFloor ? spent < tokens : spent !== tokens) found.push(`I6: the ledger has ${spent} tokens spent, the provider billed ${tokens}`);
  const spentUsd = Number(all?.get('microUsdSpent') ?? 0);
  // Rounded up once for each chunk, model and rate that something was billed of: never below the bill, and above it by less than one each.
  const over = spentUsd * 1e6 - picoUsd;
  if (over < 0 || (!isFloor && over > 1e6 * billed.length)) found.push(`I6: the ledger has ${spentUsd} micro-USD spent, the provider billed ${picoUsd} pico-USD`);
  for (const [key, fields] of last?.hashes ?? []) {
    if (!key.startsWith('account:')) continue;
    for (const unit of ['tokensReserved', 'microUsdReserved']) if (Number(fields.get(unit) ?? 0) !== 0) found.push(`I8: ${key} still has ${fields.get(unit)} ${unit}`);
  }
  return found;
}

/** I12: numbers without gaps, every event told, none told in two ways, one for every manifest. */
function judgeEvents(histories: readonly History[], manifests: readonly ArchiveManifest[], remains: Remains): string[] {
  const found: string[] = [];
  const bodies = new Map<string, string>();
  for (const { id, body } of remains.delivered) {
    const told = remains.rebuilds > 0 ? factOf(body) : body;
    const other = bodies.get(id);
    if (other !== undefined && other !== told) found.push(`I12: event ${id} was told in two ways`);
    bodies.set(id, told);
  }
  if (remains.rebuilds > 0) return found;
  const events = histories.at(-1)?.events ?? [];
  if (events.some((event, index) => event.sequence !== index + 1)) found.push('I12: the sequence of events has a gap');
  if (new Set(events.map(({ id }) => id)).size !== events.length) found.push('I12: an event was written twice');
  if (!remains.isEnded) return found;
  const untold = events.filter(({ id }) => !bodies.has(id));
  if (untold.length > 0) found.push(`I12: ${untold.length} of ${events.length} events were not told, first ${untold[0]?.id}`);
  const exported = events.filter(({ type }) => type === 'batch.exported').length;
  if (exported !== manifests.length) found.push(`I12: ${manifests.length} archives are committed, ${exported} events say so`);
  return found;
}

/**
 * What must be the same in every telling of an event even where Redis has forgotten that it was told: what it speaks of,
 * and of work that is committed in the lake all it says. A stop that happens again has another moment and other amounts.
 */
function factOf(body: string): string {
  const { type, subject, data } = JSON.parse(body) as { type: string; subject: string; data: unknown };
  return JSON.stringify([type, subject, /\.(exported|completed|failed)\.v1$/.test(type) ? data : undefined]);
}

/**
 * I16 of the lake: no secret stands in what is handed on or in the journal, compressed or not. Only the spool and audit archives
 * hold prompts; the answers of the simulator, which are in both places, repeat none of them.
 */
export function judgeLake(lake: string, secrets: readonly string[]): string[] {
  const files = ['runs', 'errors', 'results', 'journal'].flatMap((folder) => filesBelow(join(lake, folder)));
  return files.flatMap((file) => {
    const bytes = file.endsWith('.gz') ? gunzipSync(readFileSync(file)) : readFileSync(file);
    return secrets.filter((secret) => bytes.includes(secret)).map((secret) => `I16: ${secret} stands in ${file}`);
  });
}

/** I13: whether a dead letter for the request itself has an error that speaks of the account (claude-batches.md 1.8). */
export function isMisjudged(reason: string | null, errorType: string | undefined): boolean {
  return reason === 'invalid_request' && ['authentication_error', 'permission_error', 'billing_error'].includes(errorType ?? '');
}

/** I16, and a program that crashes. */
function judgeHygiene(remains: Remains, histories: readonly History[], truth: Truth): string[] {
  // Between two reads of one stage Redis may forget everything; then an invariant stops the stage, as it should.
  const isForgotten = (line: string): boolean => remains.rebuilds > 0 && line.includes('"message":"invariant broken');
  const found: string[] = [...remains.deaths.map((death) => `I16: a process died by itself: ${death}`), ...judgeLake(remains.lake, remains.secrets)];
  for (const secret of remains.secrets) {
    if (remains.said.some((text) => text.includes(secret))) found.push(`I16: ${secret} stands in a log`);
    if (histories.some(({ bytes }) => bytes.includes(secret))) found.push(`I16: ${secret} stands in Redis`);
    if (remains.delivered.some(({ body }) => body.includes(secret))) found.push(`I16: ${secret} stands in an event`);
  }
  for (const text of remains.said) {
    for (const line of text.split('\n')) if (line.includes('"stage.fault"') && line.includes('"code":"defect"') && !isForgotten(line)) found.push(`I16: a stage has a defect: ${line.slice(0, 400)}`);
  }
  // Every create was preceded by its record in the lake.
  const intents = existsSync(join(remains.lake, 'journal/intents')) ? filesBelow(join(remains.lake, 'journal/intents')).length : 0;
  if (truth.creates - remains.strangersCreates > intents) found.push(`I4: ${truth.creates - remains.strangersCreates} creates, ${intents} intents in the journal`);
  return found;
}

/** Classes of creates, from the workers' own logs; for coverage only, nothing is judged by it. */
function outcomesOf(said: readonly string[]): Record<string, number> {
  const outcomes: Record<string, number> = {};
  for (const line of said.flatMap((text) => text.split('\n'))) {
    const event = /"event":"(batch\.accepted|archive\.refused|archive\.in_doubt|intent\.[a-z_]+|batch\.[a-z_]+|doubt\.[a-z_]+|account\.fault)"/.exec(line)?.[1];
    if (event === undefined) continue;
    const reason = /"reason":"([^"]+)"/.exec(line)?.[1];
    const name = `${event}${reason === undefined ? '' : ` ${reason}`}`;
    outcomes[name] = (outcomes[name] ?? 0) + 1;
  }
  return outcomes;
}
