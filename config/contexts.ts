/**
 * Context classes: how prompts are sorted by size. A class is part of a segment's name, so renaming one or moving its
 * bound makes new segments, and a run that was begun under other classes cannot be taken up again.
 */
import { z } from 'zod';
import { ownLimits, providerLimits } from './limits.ts';
import { integer, noNote, notes, text } from './setting.ts';

/** What a class may be called. */
export const contextNamePattern = /^[a-z0-9]{1,16}$/;

const nameType = text(contextNamePattern, '1 to 16 of a-z and 0-9, such as 8k');
const contextAllowed = 'a class such as { name: 8k, tokensMax: 8000 }';
const ascendingAllowed = 'larger than tokensMax of the class before it, and its name must be new';
const contextsAllowed = `a list of 1 to ${ownLimits.contextClassesMax} classes such as { name: 8k, tokensMax: 8000 }, ascending`;

/** The context classes, ascending by `tokensMax` and each name once. */
export const contexts = z
  .array(
    z.strictObject(
      {
        name: nameType.describe('Part of the names of segments and queues.'),
        tokensMax: integer(1, 100_000_000).describe('The largest upper bound of tokens, input and output together, that the class admits.'),
      },
      { error: (issue) => (issue.code === 'invalid_type' ? contextAllowed : undefined) },
    ),
    { error: contextsAllowed },
  )
  .min(1, { error: contextsAllowed })
  .max(ownLimits.contextClassesMax, { error: contextsAllowed })
  .superRefine((classes, context) => {
    for (const [index, { name, tokensMax }] of classes.entries()) {
      const before = classes.slice(0, index);
      const isNew = before.every((other) => other.name !== name);
      if (isNew && tokensMax > (before.at(-1)?.tokensMax ?? 0)) continue;
      context.addIssue({ code: 'custom', path: [index, isNew ? 'tokensMax' : 'name'], message: ascendingAllowed });
    }
  })
  .register(notes, { ...noNote, isStructure: true });

/**
 * The default classes. The upper bound that is compared holds input and output together, so `1m` is wider than a context
 * of one million tokens: it holds what the widest model takes in and the longest extended output beside it.
 */
export const contextsInitial = [
  { name: '8k', tokensMax: 8_000 },
  { name: '64k', tokensMax: 64_000 },
  { name: '200k', tokensMax: 200_000 },
  { name: '1m', tokensMax: providerLimits.contextTokensMax + providerLimits.outputTokensMax },
];
