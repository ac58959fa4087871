/**
 * The oracle: it reads the provider's truth log and the lake, never the product's state, and says what is broken.
 * Names follow the invariants of reliability.md 6.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** What the provider did. */
export interface Truth {
  /** Requests of every batch that was accepted, by batch id. */
  readonly batches: ReadonlyMap<string, number>;
  readonly billed: { readonly rows: number; readonly inputTokens: number; readonly outputTokens: number };
  /** How often each custom_id was billed. */
  readonly billedTimes: ReadonlyMap<string, number>;
  readonly creates: number;
  /** Requests that a client library sent again by itself. */
  readonly retriedRequests: number;
}

/** Reads a truth log. */
export function readTruth(path: string): Truth {
  const batches = new Map<string, number>();
  const billedTimes = new Map<string, number>();
  let [rows, inputTokens, outputTokens, creates, retriedRequests] = [0, 0, 0, 0, 0];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line === '') continue;
    const record = JSON.parse(line) as { kind: string; batch_id?: string; requests?: number; custom_id?: string; operation?: string; retry_count?: string; usage?: { input_tokens: number; output_tokens: number } };
    if (record.kind === 'batch_accepted') batches.set(record.batch_id ?? '', record.requests ?? 0);
    if (record.kind === 'request_received' && record.operation === 'batches.create') creates += 1;
    if (record.kind === 'request_received' && Number(record.retry_count ?? 0) > 0) retriedRequests += 1;
    if (record.kind === 'row_billed' && record.usage) {
      rows += 1;
      inputTokens += record.usage.input_tokens;
      outputTokens += record.usage.output_tokens;
      billedTimes.set(record.custom_id ?? '', (billedTimes.get(record.custom_id ?? '') ?? 0) + 1);
    }
  }
  return { batches, billed: { rows, inputTokens, outputTokens }, billedTimes, creates, retriedRequests };
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
  readonly status: string;
  readonly reason: string | null;
}

/** Every row of results and errors. */
export function readRows(lake: string): readonly LakeRow[] {
  return ['results', 'errors'].flatMap((folder) =>
    filesBelow(join(lake, folder)).flatMap((file) => gunzipSync(readFileSync(file)).toString('utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as LakeRow)),
  );
}

/** Breaches of the invariants that a finished run must keep; empty when all is well. */
export function breaches(lake: string, run: string, ids: readonly string[], truthFile: string): string[] {
  const found: string[] = [];
  const rows = readRows(lake);
  const seen = new Map<string, number>();
  for (const row of rows) seen.set(row.id, (seen.get(row.id) ?? 0) + 1);
  // I1, I2: every prompt once, and nothing that nobody sent.
  const missing = ids.filter((id) => !seen.has(id));
  const double = [...seen].filter(([, times]) => times > 1).map(([id]) => id);
  const wanted = new Set(ids);
  const invented = [...seen.keys()].filter((id) => !wanted.has(id));
  if (missing.length > 0) found.push(`I1: ${missing.length} prompts are nowhere, first ${missing[0]}`);
  if (double.length > 0) found.push(`I1: ${double.length} prompts are there twice, first ${double[0]}`);
  if (invented.length > 0) found.push(`I2: ${invented.length} prompts are invented, first ${invented[0]}`);
  const truth = readTruth(truthFile);
  // I4: no request was accepted twice.
  const twice = [...truth.billedTimes].filter(([, times]) => times > 1);
  if (twice.length > 0) found.push(`I4: ${twice.length} requests were billed twice, first ${twice[0]?.[0]}`);
  if (truth.retriedRequests > 0) found.push(`I4: the client library sent ${truth.retriedRequests} requests again`);
  found.push(...manifestBreaches(lake, run));
  return found;
}

/** I10: every exported file is listed once, with its size, digest and rows; `_SUCCESS` is there. */
export function manifestBreaches(lake: string, run: string): string[] {
  const found: string[] = [];
  const folder = filesBelow(join(lake, 'runs')).find((file) => file.endsWith(`/${run}/_SUCCESS`))?.replace(/\/_SUCCESS$/, '');
  if (folder === undefined) return [`I10: run ${run} has no _SUCCESS`];
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as { entries: { url: string; meta: { content_length: number; record_count: number }; sha256: string }[] };
  const listed = new Set<string>();
  for (const entry of manifest.entries) {
    const path = new URL(entry.url).pathname;
    listed.add(decodeURIComponent(path));
    const bytes = readFileSync(decodeURIComponent(path));
    if (bytes.length !== entry.meta.content_length) found.push(`I10: ${path} has ${bytes.length} bytes, its manifest says ${entry.meta.content_length}`);
    if (createHash('sha256').update(bytes).digest('hex') !== entry.sha256) found.push(`I10: ${path} has another digest than its manifest`);
    const count = gunzipSync(bytes).toString('utf8').trimEnd().split('\n').length;
    if (count !== entry.meta.record_count) found.push(`I10: ${path} has ${count} rows, its manifest says ${entry.meta.record_count}`);
  }
  const files = ['results', 'errors'].flatMap((each) => filesBelow(join(lake, each))).filter((file) => file.includes(`/${run}-`));
  for (const file of files) if (!listed.has(file)) found.push(`I10: ${file} is in no manifest`);
  return found;
}
