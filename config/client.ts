/**
 * Clients as they are written: who hands prompts in, how large a share of the line is theirs, and what they may hand in.
 *
 *   clients:
 *     etl: { weight: 5, tier: internal }
 */
import { z } from 'zod';
import { clientPattern } from './budget.ts';
import { integer, noNote, notes, text } from './setting.ts';

const weightMax = 1_000;
const clientsMax = 10_000;
const nameAllowed = 'at most 63 of A-Z, a-z, 0-9, ., _, @ and -, beginning with a letter or digit';

const clientType = z.strictObject(
  {
    weight: z.optional(integer(1, weightMax)).describe('Share of the line while others wait too: a client of weight 2 gets twice the tokens of one of weight 1; by default that of its tier, else 1.'),
    tier: z.optional(text(/^[a-z0-9][a-z0-9_-]{0,39}$/, 'the name of a tier')).describe('Which of tiers it is in, unless an operator has said otherwise (plimsoll quota set).'),
  },
  { error: (issue) => (issue.code === 'invalid_type' ? 'a client such as { weight: 5 }' : undefined) },
);

/** All clients that are named, by name; whoever is not named has weight 1. */
export const clientsType = z
  .record(z.string().regex(clientPattern, { error: nameAllowed }), clientType, { error: (issue) => (issue.code === 'invalid_key' ? nameAllowed : 'a map from clients to what is theirs') })
  .refine((clients) => Object.keys(clients).length <= clientsMax, { error: `a map of at most ${clientsMax} clients` })
  .register(notes, { ...noNote, isStructure: true });

/** One client of the configuration. */
export type ConfiguredClient = z.output<typeof clientType>;
