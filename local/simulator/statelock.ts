import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { identifySelf, judgeLiveness, type ProcessIdentity } from '../process-identity.ts';
import { processIdentitySchema } from '../record.ts';
import { SimulatorUsageError } from './settings.ts';
import { parseJson } from './shape.ts';

/**
 * The lock of a state folder: one simulator at a time. Two would clear each other's uploads away, give the same ids twice and
 * settle every batch twice, so that the truth log says that each row was billed twice.
 *
 * `lock.json` holds the identity of its process (pid and start, `process-identity.ts`), for example
 * `{"pid": 4711, "startedAt": "183427", "host": "ana", "boot": "…", "pidNamespace": "…"}`.
 *
 * Invariants
 *   K1  The file is linked complete, and only where there is none; so one of two that start at once gets it.
 *   K2  A lock is taken over only when its process is certainly dead. Whoever takes it over moves it aside first, which only
 *       one can, and puts it back if it finds that it has moved the lock of a living successor.
 */

/** Takes the lock of `folder` and returns what lets go of it. Throws `SimulatorUsageError` when another simulator has it. */
export function lockState(folder: string): () => void {
  const path = join(folder, 'lock.json');
  const draft = `${path}.${process.pid}-${nextDraft()}`;
  writeFileSync(draft, JSON.stringify(identifySelf()));
  try {
    while (!place(draft, path)) {
      const holder = read(path);
      if (holder !== undefined && judgeLiveness(holder) !== 'dead') {
        throw new SimulatorUsageError(`Another simulator uses the folder ${folder} (process ${holder.pid}). Stop it, or name another folder with --state.`);
      }
      removeStale(path, `${draft}.stale`);
    }
  } finally {
    rmSync(draft, { force: true });
  }
  return () => rmSync(path, { force: true });
}

let drafts = 0;
function nextDraft(): number {
  drafts += 1;
  return drafts;
}

function place(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') {
      return false;
    }
    throw cause;
  }
}

function removeStale(path: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch {
    // Somebody else was faster; the next look shows who holds it now.
    return;
  }
  const moved = read(aside);
  if (moved !== undefined && judgeLiveness(moved) !== 'dead') {
    place(aside, path);
  }
  rmSync(aside, { force: true });
}

/** Undefined: there is none, or one that no simulator of this version has written. */
function read(path: string): ProcessIdentity | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  const parsed = processIdentitySchema.safeParse(parseJson(text));
  return parsed.success ? parsed.data : undefined;
}
