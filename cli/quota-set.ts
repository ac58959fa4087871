/** Moves a client to another tier: first in the lake, then in the ledger, then everything that follows from it. */
import { suggest } from '../config/suggest.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { TierDocument } from '../segments/journal.ts';
import { journalTier } from '../segments/store/decisions.ts';
import type { Installation } from './compose.ts';
import { enterDecision } from './guard.ts';
import { applyTiers, tierNameOf } from './tiers.ts';

export interface ClientMove {
  readonly client: string;
  /** `none`: out of every tier. */
  readonly tier: string;
  readonly by: string;
  readonly reason: string;
}

/**
 * Moves a client. The same move twice is one, and one that was cut off is completed by the second.
 * @throws PlimsollError `tier_unknown`, `ledger_behind`, and what store and ledger raise
 */
export async function moveClient(installation: Installation, move: ClientMove): Promise<{ readonly document: TierDocument; readonly isNew: boolean; readonly weight: number }> {
  await enterDecision(installation);
  const { config, ledger, store, wake, now } = installation;
  const { client, by, reason } = move;
  const tier = move.tier === 'none' ? null : move.tier;
  if (tier !== null && !Object.hasOwn(config.tiers, tier)) throw tierUnknown(tier, Object.keys(config.tiers));
  const fromUnset = tierNameOf(config, [], client) ?? null;
  // The journal first: a limit that holds must still hold when the ledger is rebuilt.
  const { document, isNew } = await journalTier(store, { client, tier, by, reason, fromUnset, setAtMs: now() });
  const { ordinal, setAtMs } = document;
  await ledger.setTier({ client, tier: document.tier, ordinal, by: document.by, setAtMs });
  await applyTiers(config, ledger, now());
  for (const chunk of await ledger.resumeHeld(now())) await wake.enqueueChunk(chunk.segment, chunk.chunk, chunk.epoch);
  return { document, isNew, weight: await weightOf(config, ledger, client) };
}

async function weightOf(config: Installation['config'], ledger: Installation['ledger'], client: string): Promise<number> {
  const tier = tierNameOf(config, await ledger.readTiers(), client);
  return config.clients[client]?.weight ?? (tier === undefined ? undefined : config.tiers[tier]?.weight) ?? 1;
}

/** The error for a tier that is not there. */
function tierUnknown(tier: string, known: readonly string[]): PlimsollError {
  const near = suggest(tier, known);
  return new PlimsollError('tier_unknown', {
    message: `no tier is called ${JSON.stringify(tier)}`,
    where: '--tier',
    hint: known.length === 0 ? 'The configuration has no tiers yet: plimsoll init shows how they are written.' : near === undefined ? `There are ${known.join(', ')}, and none.` : `Did you mean ${near}?`,
  });
}
