/** What a seed left behind, as files: the lake, the provider's books and truth log, and what the processes said. Nothing is judged here. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { parseCustomId } from '../../../segments/pack.ts';
import { filesBelow } from '../oracle.ts';
import { strangersIds } from './stage.ts';

/** What a seed left behind. */
export interface Remains {
  /** Folder of the lake, or of a copy of it. */
  readonly lake: string;
  /** Address of the lake where the folder is a copy. */
  readonly uri?: string | undefined;
  readonly provider: string;
  readonly truthFile: string;
  /** Ids of every run that was acknowledged or at least begun, by run key. */
  readonly runs: ReadonlyMap<string, { readonly ids: readonly string[]; readonly isAcknowledged: boolean; readonly badLines: number }>;
  /** Whether every run has come to its end, so that nothing more can follow. A run that was canceled before it was acknowledged ends, too. */
  readonly isEnded: boolean;
  /** How often somebody else tried to make a batch; their ids begin with `strangersIds`. */
  readonly strangersCreates: number;
  readonly historyFiles: readonly string[];
  readonly said: readonly string[];
  readonly deaths: readonly string[];
  /** Events as the webhook got them. */
  readonly delivered: readonly { readonly id: string; readonly body: string }[];
  /** How often the ledger was rebuilt. */
  readonly rebuilds: number;
  readonly secrets: readonly string[];
  readonly prefix: string;
}

/** A row of results or errors. */
export interface Row {
  readonly id: string;
  readonly run_key: string;
  readonly status: string;
  readonly reason: string | null;
  readonly error_type: string | null;
  readonly batch_id: string | null;
  readonly result: unknown;
}

/** What commits an archive's files. */
export interface ArchiveManifest {
  readonly archive: string;
  readonly batch_id: string | null;
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number; readonly cache_read_input_tokens: number; readonly cache_write_input_tokens: number };
  readonly micro_usd: number;
}

/** A batch as the provider's books have it. */
export interface Batch {
  readonly id: string;
  readonly customIds: readonly string[];
  readonly results: ReadonlyMap<string, unknown>;
}

/** Every row of results and errors. */
export function rowsOf(lake: string): readonly Row[] {
  return ['results', 'errors'].flatMap((folder) => filesBelow(join(lake, folder)).flatMap((file) => gunzipSync(readFileSync(file)).toString('utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Row)));
}

/** What the provider did for us. */
export interface Truth {
  readonly batches: readonly Batch[];
  readonly billed: ReadonlyMap<string, { times: number; tokens: number; picoUsd: number }>;
  readonly creates: number;
  readonly retriedRequests: number;
  readonly injected: Readonly<Record<string, number>>;
}

/** Reads the truth log and the provider's books. */
export function truthOf({ truthFile, provider }: Remains): Truth {
  const batches: Batch[] = [];
  const billed = new Map<string, { times: number; tokens: number; picoUsd: number }>();
  let [creates, retriedRequests] = [0, 0];
  const injected: Record<string, number> = {};
  for (const line of readFileSync(truthFile, 'utf8').split('\n')) {
    if (line === '') continue;
    const record = JSON.parse(line) as { kind: string; batch_id?: string; fault?: string; custom_id?: string; operation?: string; retry_count?: string; usage?: Record<string, number>; cost_pico_usd?: number | string };
    if (record.kind === 'fault_injected') injected[record.fault ?? ''] = (injected[record.fault ?? ''] ?? 0) + 1;
    if (record.kind === 'request_received' && record.operation === 'batches.create') creates += 1;
    if (record.kind === 'request_received' && Number(record.retry_count ?? 0) > 0) retriedRequests += 1;
    if (record.kind === 'batch_accepted') {
      const batch = batchOf(join(provider, 'batches', record.batch_id ?? ''), record.batch_id ?? '');
      if (batch.customIds[0]?.startsWith(strangersIds) !== true) batches.push(batch);
    }
    if (record.kind === 'row_billed' && record.usage && record.custom_id?.startsWith(strangersIds) !== true) {
      const one = billed.get(record.custom_id ?? '') ?? { times: 0, tokens: 0, picoUsd: 0 };
      one.times += 1;
      one.tokens += Object.values(record.usage).reduce((sum, tokens) => sum + (typeof tokens === 'number' ? tokens : 0), 0);
      one.picoUsd += Number(record.cost_pico_usd ?? 0);
      billed.set(record.custom_id ?? '', one);
    }
  }
  return { batches, billed, creates, retriedRequests, injected };
}

function batchOf(folder: string, id: string): Batch {
  const lines = (name: string): string[] => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8').trimEnd().split('\n').filter((line) => line !== '') : []);
  const results = new Map(lines('results.jsonl').map((line) => {
    const { custom_id, result } = JSON.parse(line) as { custom_id: string; result: unknown };
    return [custom_id, result] as const;
  }));
  return { id, customIds: lines('custom_ids.txt'), results };
}

/** An archive whose rows were given up in doubt. */
export interface Forgone {
  readonly archive: string;
  /** What its rows can cost at most, as it was sealed. */
  readonly tokensMax: number;
  readonly microUsdMax: number;
  readonly rows: number;
  /** A person's word to give it up stands in the journal. */
  readonly isDecided: boolean;
  /** It has an intent that is newer than the one that was given up. */
  readonly isSentAgain: boolean;
}

/** The archives whose outcome says that they were given up in doubt. */
export function forgoneOf(lake: string): ReadonlyMap<string, Forgone> {
  const found = new Map<string, Forgone>();
  const read = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));
  const intents = filesBelow(join(lake, 'journal/intents'));
  const newestOf = (files: readonly string[], pattern: RegExp): number => Math.max(-1, ...files.flatMap((file) => pattern.exec(file)?.[1] ?? []).map(Number));
  for (const path of filesBelow(join(lake, 'journal/outcomes'))) {
    const { archive, run, dead } = read(path) as { archive: string; run: string; dead: readonly { reason: string }[] };
    const rows = dead.filter(({ reason }) => reason === 'submission_in_doubt').length;
    if (rows === 0) continue;
    const { chunks } = read(join(lake, 'journal/archives', run, `${archive}.json`)) as { chunks: readonly { tokensMax: number; microUsdMax: number }[] };
    const given = newestOf(filesBelow(join(lake, 'journal/archives', run)), new RegExp(`/${archive}-i(\\d+)\\.forgone\\.json$`));
    found.set(archive, {
      archive, rows,
      tokensMax: chunks.reduce((sum, chunk) => sum + chunk.tokensMax, 0),
      microUsdMax: chunks.reduce((sum, chunk) => sum + chunk.microUsdMax, 0),
      isDecided: given >= 0,
      isSentAgain: newestOf(intents, new RegExp(`/${archive}-i(\\d+)\\.json$`)) !== given,
    });
  }
  return found;
}

/** The archive that a custom_id names. */
export function archiveOf(customId: string): string {
  return parseCustomId(customId)?.archive ?? 'foreign';
}
