/** Which lake and which ledger belong together: each remembers the other, so that neither is opened with a stranger. */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Config } from '../config/config.ts';
import { PlimsollError } from '../segments/errors.ts';
import { installationKey } from '../segments/lake.ts';
import type { LedgerKeys } from '../segments/ledger/keys.ts';
import type { Ledger } from '../segments/ledger/ledger.ts';
import { putDocument, readDocument } from '../segments/store/document.ts';
import type { Store } from '../segments/store/store.ts';

/**
 * The lake's own id: made once, adopted by everyone who opens the lake later. The lake remembers the tag of its ledger:
 * under another tag the same run key would make the same ids a second time.
 * A lake without an id stays as it is when the ledger has runs: it is another folder or bucket, and not ours to write to.
 * @throws PlimsollError `installation_differs`
 */
export async function installationId(store: Store, config: Config, ownerOfRuns: () => Promise<string | undefined>): Promise<string> {
  const { tag } = config.redis;
  const known = (await readDocument(store, installationKey)) as { id?: string; tag?: string } | undefined;
  if (known?.id) {
    if (known.tag === undefined || known.tag === tag) return known.id;
    throw new PlimsollError('installation_differs', {
      message: `the lake ${store.uri} (id ${known.id}) belongs to the installation ${known.tag}, and this one is ${tag}`,
      where: 'redis.tag',
      hint: `Set PLIMSOLL_REDIS__TAG=${known.tag}, or give the installation ${tag} a lake and a home of its own (PLIMSOLL_LAKE, PLIMSOLL_HOME).`,
    });
  }
  const owner = await ownerOfRuns();
  if (owner !== undefined) throw lakeDiffers(owner, 'has no id', config);
  try {
    const id = randomUUID();
    await putDocument(store, installationKey, { v: 1, id, tag });
    return id;
  } catch (error) {
    // Another process was first; its id holds.
    if (error instanceof PlimsollError && error.code === 'lake_conflict') return await installationId(store, config, ownerOfRuns);
    throw error;
  }
}

/** The lake that the runs of the ledger are in; undefined: it has no run, and any empty lake may become its own. */
export async function lakeOfRuns(redis: Redis, keys: LedgerKeys, ledger: Ledger): Promise<string | undefined> {
  const owner = await redis.get(keys.of('lake'));
  return owner !== null && (await ledger.listRuns()).length > 0 ? owner : undefined;
}

/** Binds the ledger to the lake: one that points into another would call every chunk missing, or submit what is not there. @throws PlimsollError `installation_differs` */
export async function proveTogether(ledger: Ledger, id: string, config: Config): Promise<void> {
  const owner = await ledger.claimLake(id);
  if (owner !== id) throw lakeDiffers(owner, `has the id ${id}`, config);
}

function lakeDiffers(owner: string, found: string, config: Config): PlimsollError {
  return new PlimsollError('installation_differs', {
    message: `the ledger ${config.redis.tag} belongs to the lake with the id ${owner}, and the lake at hand (${config.lake}) ${found}`,
    where: config.origins.get('lake') === 'default' ? `home ${config.home}` : (config.origins.get('lake') ?? 'lake'),
    hint: 'Point PLIMSOLL_LAKE to the lake that the ledger knows, or give this lake an installation of its own: another PLIMSOLL_HOME, or with a shared Redis another PLIMSOLL_REDIS__TAG.',
  });
}
