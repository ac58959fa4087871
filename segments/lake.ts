/**
 * Every key of the lake, in one place. A key is a function of planned position: no clock, no random, so that a replay
 * meets its own objects.
 *
 *   results/dt=2026-11-21/topic=invoices/<run>-<archive>-p000.jsonl.gz    data files only, one topic each
 *   errors/dt=…/topic=…/<run>-<archive>-p000.jsonl.gz                     one row per dead letter or reject
 *   runs/dt=…/<run>/archives/<archive>.json                              commits one archive's files
 *   runs/dt=…/<run>/{manifest.json,run.json,cost.csv,_SUCCESS}           gathers them; `_SUCCESS` last
 *   audit/dt=…/<archive>.zip                                             requests, results, manifest, digests; optional
 *   spool/<run>/<chunk>.chunk                                            private: prompts
 *   journal/…                                                            private: what survives the loss of Redis
 */
import { asRunKey, type ArchiveId, type ChunkId, type IntentId, type RunKey } from './segment.ts';

/** The UTC date of an instant, `YYYY-MM-DD`: the `dt` of a run that began then. */
export function dateOf(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 10);
}

const lakeFolders: readonly string[] = ['results', 'errors', 'runs', 'audit', 'spool', 'journal'];

/** Whether a key, below the root of a lake, is one that only Plimsoll writes. */
export function isLakeKey(key: string): boolean {
  const folder = key.slice(0, Math.max(0, key.indexOf('/')));
  return lakeFolders.includes(folder) || key.startsWith('.');
}

/** The audit archive of one archive. */
export function auditKey(dt: string, archive: ArchiveId): string {
  return `audit/dt=${dt}/${archive}.zip`;
}

/** The object of a day by which a lake proves that it never overwrites. */
export function lakeProofKey(dt: string): string {
  return `journal/doctor/${dt}.json`;
}

export const installationKey = 'journal/installation.json';

export function spoolKey(run: RunKey, chunk: ChunkId): string {
  return `spool/${run}/${chunk}.chunk`;
}

/** The record that a run was opened: its tag and its date. */
export function runOpenKey(run: RunKey): string {
  return `journal/runs/${run}/open.json`;
}

/** The record that a run's source was read to its end, with counts and digest. */
export function runIngestedKey(run: RunKey): string {
  return `journal/runs/${run}/ingested.json`;
}

/** What the keys of a run's sections begin with: what is durable of a source that is still read. */
export function sectionPrefix(run: RunKey): string {
  return `journal/runs/${run}/sections/`;
}

/** The record that the nth section of a run's source is durable, from 1. `ids` and `rejects` are its parts, written before it. */
export function sectionKey(run: RunKey, ordinal: number, part: 'json' | 'ids' | 'rejects.jsonl.gz' = 'json'): string {
  return `${sectionPrefix(run)}${String(ordinal).padStart(6, '0')}.${part}`;
}

/** The record that an operator canceled a run. */
export function runCanceledKey(run: RunKey): string {
  return `journal/runs/${run}/canceled.json`;
}

const generationLast = 999_999_999_999;

/** The record that a worker has started, the nth of the installation. Counted down, so that the newest is listed first. */
export function generationKey(generation: number): string {
  return `${generationPrefix}${String(generationLast - generation).padStart(12, '0')}.json`;
}

export const generationPrefix = 'journal/generation/';

/** The generation that a key stands for, or undefined. */
export function generationOf(key: string): number | undefined {
  const match = /^journal\/generation\/(\d{12})\.json$/.exec(key);
  return match?.[1] === undefined ? undefined : generationLast - Number(match[1]);
}

export const recoveryPrefix = 'journal/recoveries/';

/** The record of the nth rebuild of the ledger. */
export function recoveryKey(ordinal: number): string {
  return `${recoveryPrefix}${String(ordinal).padStart(6, '0')}.json`;
}

export const budgetPrefix = 'journal/budgets/';

/** The nth limit that an operator has set on a target; the newest holds. */
export function budgetKey(target: string, ordinal: number): string {
  return `${budgetPrefix}${target}/${String(ordinal).padStart(6, '0')}.json`;
}

export const holdPrefix = 'journal/holds/';

/** The nth word of an operator on what is held, `segment:NAME`, `run:KEY` or `doubt:INTENT`; the newest holds. */
export function holdKey(scope: string, ordinal: number): string {
  return `${holdPrefix}${scope}/${String(ordinal).padStart(6, '0')}.json`;
}

export const tierPrefix = 'journal/tiers/';

/** What the keys of a client's audit trail begin with. */
export function tierHistoryPrefix(client: string): string {
  return `${tierPrefix}${client}/`;
}

/** The nth word of an operator on a client's tier; the newest holds. */
export function tierKey(client: string, ordinal: number): string {
  return `${tierHistoryPrefix(client)}${String(ordinal).padStart(6, '0')}.json`;
}

/** What the keys of a run's deferrals begin with. */
export function deferralPrefix(run: RunKey): string {
  return `journal/runs/${run}/deferrals/`;
}

/** From which row on a client of a run was over its tier. */
export function deferralKey(run: RunKey, client: string): string {
  return `${deferralPrefix(run)}${client}.json`;
}

export const replanPrefix = 'journal/replans/';

/** What an operator made of the held chunks of a segment; `replan` is `<segment>.<digest>`. */
export function replanKey(replan: string): string {
  return `${replanPrefix}${replan}.json`;
}

/** The record that an archive was halved because its intent was refused whole. */
export function halvedKey(run: RunKey, intent: IntentId): string {
  return `journal/archives/${run}/${intent}.halved.json`;
}

/** The record that the only row of an archive was refused for good. */
export function rejectedKey(run: RunKey, intent: IntentId): string {
  return `journal/archives/${run}/${intent}.rejected.json`;
}

/** The record that an archive in doubt was given up, under the intent that nobody can prove anything of. */
export function forgoneKey(run: RunKey, intent: IntentId): string {
  return `journal/archives/${run}/${intent}.forgone.json`;
}

/** The manifest that fixes a sealed archive. */
export function sealedKey(run: RunKey, archive: ArchiveId): string {
  return `journal/archives/${run}/${archive}.json`;
}

/** The write-ahead record of one attempt to submit. */
export function intentKey(account: string, intent: IntentId): string {
  return `journal/intents/${account}/${intent}.json`;
}

/** The record that the provider accepted an intent, with the batch's id. */
export function acceptedKey(account: string, intent: IntentId): string {
  return `journal/accepted/${account}/${intent}.json`;
}

/** The provider's result lines of an archive, verbatim. */
export function resultLinesKey(run: RunKey, archive: ArchiveId): string {
  return `journal/results/${run}/${archive}.jsonl`;
}

/** What became of every row of an archive: retries, dead letters, spending. */
export function outcomeKey(run: RunKey, archive: ArchiveId): string {
  return `${outcomePrefix(run)}${archive}.json`;
}

/** What the keys of the outcomes begin with: those of one run, or all. */
export function outcomePrefix(run?: RunKey): string {
  return run === undefined ? 'journal/outcomes/' : `journal/outcomes/${run}/`;
}

/** A data file of succeeded rows. `part` counts from 0 within archive and topic. */
export function resultsKey(dt: string, topic: string, run: RunKey, archive: ArchiveId, part: number): string {
  return `results/dt=${dt}/topic=${topic}/${run}-${archive}-p${String(part).padStart(3, '0')}.jsonl.gz`;
}

/** A file of dead letters. */
export function errorsKey(dt: string, topic: string, run: RunKey, archive: ArchiveId, part: number): string {
  return `errors/dt=${dt}/topic=${topic}/${run}-${archive}-p${String(part).padStart(3, '0')}.jsonl.gz`;
}

/** The rejected lines of a run's source. Their topic is not known: a line may not even be JSON. */
export function rejectsKey(dt: string, run: RunKey): string {
  return `errors/dt=${dt}/topic=rejected/${run}-rejects-p000.jsonl.gz`;
}

function runFolder(dt: string, run: RunKey): string {
  return `runs/dt=${dt}/${run}`;
}

/** The commit point of one archive's files. */
export function archiveManifestKey(dt: string, run: RunKey, archive: ArchiveId): string {
  return `${runFolder(dt, run)}/archives/${archive}.json`;
}

/** What a file that commits something says by its key: an archive's manifest, or without an archive the `_SUCCESS` of a run. */
export function runFileOf(key: string): { readonly dt: string; readonly run: RunKey; readonly archive?: ArchiveId } | undefined {
  const [, dt, name, archive] = /^runs\/dt=([^/]+)\/([^/]+)\/(?:archives\/([^/]+)\.json|_SUCCESS)$/.exec(key) ?? [];
  const run = asRunKey(name ?? '');
  if (dt === undefined || run === undefined) return undefined;
  return { dt, run, ...(archive === undefined ? {} : { archive: archive as ArchiveId }) };
}

export function runManifestKey(dt: string, run: RunKey): string {
  return `${runFolder(dt, run)}/manifest.json`;
}

export function runReportKey(dt: string, run: RunKey): string {
  return `${runFolder(dt, run)}/run.json`;
}

export function runCostKey(dt: string, run: RunKey): string {
  return `${runFolder(dt, run)}/cost.csv`;
}

export function runSuccessKey(dt: string, run: RunKey): string {
  return `${runFolder(dt, run)}/_SUCCESS`;
}
