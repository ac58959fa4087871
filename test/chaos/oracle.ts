/**
 * The oracle: it reads the provider's truth log and the lake, never the product's state, and says what is broken.
 * Names follow the invariants of reliability.md 6.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** What the provider did. */
export interface Truth {
  /** Requests of every batch that was accepted, by batch id. */
  readonly batches: ReadonlyMap<string, number>;
  readonly billed: { readonly rows: number; readonly inputTokens: number; readonly outputTokens: number };
  /** How often each custom_id was billed. */
  readonly billedTimes: ReadonlyMap<string, number>;
  /** Creates whose first bytes have come; their bodies may still be on the way. */
  readonly creates: number;
  /** How often each fault has struck, by its name. */
  readonly struck: ReadonlyMap<string, number>;
  /** Requests that a client library sent again by itself. */
  readonly retriedRequests: number;
}

/** Reads a truth log. */
export function readTruth(path: string): Truth {
  const batches = new Map<string, number>();
  const billedTimes = new Map<string, number>();
  const struck = new Map<string, number>();
  let [rows, inputTokens, outputTokens, creates, retriedRequests] = [0, 0, 0, 0, 0];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line === '') continue;
    const record = JSON.parse(line) as { kind: string; batch_id?: string; requests?: number; custom_id?: string; operation?: string; fault?: string; retry_count?: string; usage?: { input_tokens: number; output_tokens: number } };
    if (record.kind === 'batch_accepted') batches.set(record.batch_id ?? '', record.requests ?? 0);
    if (record.kind === 'request_received' && record.operation === 'batches.create') creates += 1;
    if (record.kind === 'request_received' && Number(record.retry_count ?? 0) > 0) retriedRequests += 1;
    if (record.kind === 'fault_injected') struck.set(record.fault ?? '', (struck.get(record.fault ?? '') ?? 0) + 1);
    if (record.kind === 'row_billed' && record.usage) {
      rows += 1;
      inputTokens += record.usage.input_tokens;
      outputTokens += record.usage.output_tokens;
      billedTimes.set(record.custom_id ?? '', (billedTimes.get(record.custom_id ?? '') ?? 0) + 1);
    }
  }
  return { batches, billed: { rows, inputTokens, outputTokens }, billedTimes, creates, struck, retriedRequests };
}

/** Every file below a folder; none when it does not exist. */
export function filesBelow(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return [];
  }
}

export interface LakeRow {
  readonly id: string;
  readonly run_key: string;
  readonly status: string;
  readonly reason: string | null;
}

/** A lake as the oracle sees it: keys and bytes, nothing of the product. */
export interface LakeView {
  /** What the urls of manifests begin with. */
  readonly uri: string;
  keys(): readonly string[];
  read(key: string): Buffer;
}

/** The view of a lake in a folder, or of the copy of one in a folder: its own urls then begin with `uri`. */
export function folderView(lake: string, uri = `file://${lake}`): LakeView {
  return {
    uri,
    keys: () => ['results', 'errors', 'runs'].flatMap((folder) => filesBelow(join(lake, folder))).map((file) => relative(lake, file)),
    read: (key) => readFileSync(join(lake, key)),
  };
}

const isData = (key: string): boolean => key.startsWith('results/') || key.startsWith('errors/');

/** Every row of results and errors of a lake in a folder. */
export function readRows(lake: string): readonly LakeRow[] {
  return rowsOf(folderView(lake));
}

/** Every row of results and errors. */
export function rowsOf(lake: LakeView): readonly LakeRow[] {
  return lake.keys().filter(isData).flatMap((key) => gunzipSync(lake.read(key)).toString('utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as LakeRow));
}

/** I1, I2: every prompt once, and nothing that nobody sent. */
export function rowBreaches(rows: readonly LakeRow[], ids: readonly string[]): string[] {
  const found: string[] = [];
  const seen = new Map<string, number>();
  for (const row of rows) seen.set(row.id, (seen.get(row.id) ?? 0) + 1);
  const missing = ids.filter((id) => !seen.has(id));
  const double = [...seen].filter(([, times]) => times > 1).map(([id]) => id);
  const wanted = new Set(ids);
  const invented = [...seen.keys()].filter((id) => !wanted.has(id));
  if (missing.length > 0) found.push(`I1: ${missing.length} prompts are nowhere, first ${missing[0]}`);
  if (double.length > 0) found.push(`I1: ${double.length} prompts are there twice, first ${double[0]}`);
  if (invented.length > 0) found.push(`I2: ${invented.length} prompts are invented, first ${invented[0]}`);
  return found;
}

/** Breaches of the invariants that a finished run must keep; empty when all is well. */
export function breaches(lake: string, run: string, ids: readonly string[], truthFile: string): string[] {
  const view = folderView(lake);
  const found = rowBreaches(rowsOf(view), ids);
  const truth = readTruth(truthFile);
  // I4: no request was accepted twice.
  const twice = [...truth.billedTimes].filter(([, times]) => times > 1);
  if (twice.length > 0) found.push(`I4: ${twice.length} requests were billed twice, first ${twice[0]?.[0]}`);
  if (truth.retriedRequests > 0) found.push(`I4: the client library sent ${truth.retriedRequests} requests again`);
  found.push(...listingBreaches(view, run));
  return found;
}

/** I10 of a lake in a folder, or of a copy of the lake `uri`. */
export function manifestBreaches(lake: string, run: string, uri?: string): string[] {
  return listingBreaches(folderView(lake, uri), run);
}

/** I10: every exported file is listed once, with its size, digest and rows; `_SUCCESS` is there. */
export function listingBreaches(lake: LakeView, run: string): string[] {
  const found: string[] = [];
  const keys = lake.keys();
  const folder = keys.find((key) => key.endsWith(`/${run}/_SUCCESS`))?.replace(/\/_SUCCESS$/, '');
  if (folder === undefined) return [`I10: run ${run} has no _SUCCESS`];
  const manifest = JSON.parse(lake.read(`${folder}/manifest.json`).toString('utf8')) as { entries: { url: string; meta: { content_length: number; record_count: number }; sha256: string }[] };
  const listed = new Set<string>();
  for (const entry of manifest.entries) {
    const key = decodeURIComponent(entry.url).slice(lake.uri.length + 1);
    if (listed.has(key)) found.push(`I10: ${key} is listed twice`);
    listed.add(key);
    if (!keys.includes(key)) {
      found.push(`I10: ${key} is listed and not there`);
      continue;
    }
    const bytes = lake.read(key);
    if (bytes.length !== entry.meta.content_length) found.push(`I10: ${key} has ${bytes.length} bytes, its manifest says ${entry.meta.content_length}`);
    if (createHash('sha256').update(bytes).digest('hex') !== entry.sha256) found.push(`I10: ${key} has another digest than its manifest`);
    const count = gunzipSync(bytes).toString('utf8').trimEnd().split('\n').length;
    if (count !== entry.meta.record_count) found.push(`I10: ${key} has ${count} rows, its manifest says ${entry.meta.record_count}`);
  }
  for (const key of keys) if (isData(key) && key.includes(`/${run}-`) && !listed.has(key)) found.push(`I10: ${key} is in no manifest`);
  return found;
}
