import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { identifySelf, judgeLiveness, type ProcessIdentity } from './process-identity.ts';
import { processIdentitySchema, readRecord, writeRecord } from './record.ts';

/** One opening of the home by one process: `processes/<pid>-<token>`, removed when it closes. */
export interface Occupant {
  readonly path: string;
}

/** Registers this process in the home. Call it under the lock: a last leaver must see everyone who has come. */
export async function enterHome(home: string): Promise<Occupant> {
  const folder = join(home, 'processes');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const self = identifySelf();
  const path = join(folder, `${self.pid}-${randomUUID()}`);
  await writeRecord(path, self);
  return { path };
}

/** Takes the registration back, under the lock. Doing it twice is harmless. */
export async function leaveHome(occupant: Occupant): Promise<void> {
  await rm(occupant.path, { force: true });
}

/**
 * Who is in the home, under the lock. Registrations of dead processes are removed on the way; those of another
 * container or machine count as present, because stopping their server would be worse than leaving ours running.
 */
export async function listOccupants(home: string): Promise<ProcessIdentity[]> {
  const folder = join(home, 'processes');
  const present: ProcessIdentity[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const identity = name.endsWith('.draft') ? undefined : await readRecord(path, processIdentitySchema);
    if (identity === undefined || judgeLiveness(identity) === 'dead') {
      await rm(path, { force: true });
    } else {
      present.push(identity);
    }
  }
  return present;
}
