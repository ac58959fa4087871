/** Judges a prompt by the tier of its client, as far as the prompt alone decides: its context, its metadata and its lane. */
import { priorityIn, type Tier } from '../segments/quota.ts';
import type { Priority } from '../segments/segment.ts';
import { fault, quoted } from './faults.ts';
import type { Fault } from './faults.ts';

/** What a tier looks at. */
export interface TierMatter {
  readonly client: string;
  readonly priority: Priority;
  readonly metadataJson: string | undefined;
  /** Upper bound of input and answer. */
  readonly contextTokens: number;
}

/** Why the tier refuses a prompt, or the lane in which it goes. */
export function judgeByTier(name: string, tier: Tier, { client, priority, metadataJson, contextTokens }: TierMatter): { readonly fault: Fault } | { readonly priority: Priority } {
  const { contextTokensMax } = tier;
  if (contextTokensMax !== undefined && contextTokens > contextTokensMax) {
    const shorter = contextTokens - contextTokensMax;
    return { fault: fault('tier_context_exceeded', `the request may take up to ${contextTokens} tokens; the tier ${name} of the client ${quoted(client)} takes ${contextTokensMax}: shorten the prompt or max_tokens by ${shorter}`) };
  }
  const missing = missingKeys(tier.metadata, metadataJson);
  if (missing.length > 0) return { fault: fault('tier_metadata_missing', `the tier ${name} of the client ${quoted(client)} asks for metadata: ${missing.map(quoted).join(', ')} ${missing.length === 1 ? 'is' : 'are'} missing`) };
  return { priority: priorityIn(tier, priority) };
}

/** A key whose value says nothing is as good as missing. */
function missingKeys(wanted: readonly string[], metadataJson: string | undefined): readonly string[] {
  if (wanted.length === 0) return [];
  const metadata = JSON.parse(metadataJson ?? '{}') as Readonly<Record<string, unknown>>;
  return wanted.filter((key) => !Object.hasOwn(metadata, key) || metadata[key] === null || metadata[key] === '');
}
