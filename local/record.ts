import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { z } from 'zod';

/** The stored form of a `ProcessIdentity`. */
export const processIdentitySchema = z.object({
  pid: z.int().positive(),
  startedAt: z.string(),
  host: z.string(),
  boot: z.string(),
  pidNamespace: z.string(),
});

/**
 * Reads a small JSON record of the home. undefined: there is none. A file that is there but unreadable is an error, not
 * an absence: taking it for absent could start a second server on the same data.
 */
export async function readRecord<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  const parsed = schema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new Error(`${path} is not a record of this version of Plimsoll. If no process of this home is running, delete the file.`);
}

/** Replaces a record in one step: a reader, or a successor of a killed writer, sees the old one or the new one. */
export async function writeRecord(path: string, record: object): Promise<void> {
  const draft = `${path}.${randomUUID()}.draft`;
  try {
    await writeFile(draft, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600, flush: true });
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}

/** Whether a caught value is a system error with that code, such as `ENOENT`. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
