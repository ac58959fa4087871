/**
 * What a producer is told, and what of it decides how a source is cut into prompts and segments.
 */
import { createHash } from 'node:crypto';
import { estimatorVersion } from '../segments/estimate.ts';
import type { Budget, TierAssignment } from '../segments/ledger/ledger.ts';
import type { Terms } from '../segments/quota.ts';
import type { ContextClass, Priority } from '../segments/segment.ts';
import type { PriceTable } from '../config/models.ts';
import type { IntakeRules } from './judge.ts';
import type { AnthropicVersion } from './validate.ts';

export interface ProducerSettings {
  /** Ascending `tokensMax`. */
  readonly contextClasses: readonly ContextClass[];
  /** A chunk is sealed when its params reach this many bytes or rows. */
  readonly chunkBytesMax: number;
  readonly chunkRowsMax: number;
  /** Memory over all open chunks, bytes. */
  readonly openBytesMax: number;
  /** A longer line is refused and never held in memory whole. */
  readonly lineBytesMax: number;
  /** Decides whether temperature, top_p and top_k are refused. */
  readonly anthropicVersion: AnthropicVersion;
  readonly price: PriceTable;
  readonly defaults: {
    readonly topic: string;
    readonly priority: Priority;
    readonly client: string;
    readonly model: string | undefined;
    readonly maxTokens: number | undefined;
  };
  /** Which shared prefixes are marked for the provider's cache; undefined: none. */
  readonly cache?: CacheRules | undefined;
  /** Nothing is sent, and the run is refused, when any line is bad. */
  readonly isStrict: boolean;
  /** How many bad lines are borne; percent of the lines that are not blank. */
  readonly badRowsMax: BadRowsBound;
  /** Local; for the rejects file while it grows. */
  readonly scratchDirectory: string;
  /** How many times its size a compressed source may grow; undefined: the default of `source.ts`. */
  readonly expansionMax?: number;
  /** How much of a source is read between two points where a restart can begin, at least, bytes; undefined: `sectionBytes`. */
  readonly sectionBytes?: number;
  /** What tiers let clients hand in; undefined: nobody has limits. The words of operators are put over them when a run begins. */
  readonly terms?: Terms | undefined;
  /** The budgets that tiers give to these clients under the words of operators; undefined: no tier has a budget. */
  readonly tierBudgets?: ((clients: readonly string[], assigned: readonly TierAssignment[]) => readonly Budget[]) | undefined;
  /** How the line moves, for whoever was deferred: requests in the provider's queue, and the longest wait before that, ms. */
  readonly line?: { readonly queueRowsMax: number; readonly patienceMs: number };
}

/** Where prompts share a beginning, the provider is asked to keep it (`prefix.ts`). */
export interface CacheRules {
  /** Topics whose prompts are marked; `*` for all. */
  readonly topics: readonly string[];
  /** How many prompts of a prefix stay unmarked in each section of a source. */
  readonly after: number;
  /** Whether the first prompt of a prefix goes ahead of the rest, in a chunk and a batch of its own. */
  readonly isPriming: boolean;
}

/** A section of this size is judged in a few seconds, and its end costs a moment and a few short chunks. */
export const sectionBytes = 1_000_000_000;

export type BadRowsBound =
  | { readonly kind: 'none' }
  | { readonly kind: 'rows'; readonly rows: number }
  | { readonly kind: 'percent'; readonly percent: number };

/** Raised when a rule of intake changes, so that no run is resumed under other rules than it began with. */
const rulesVersion = 1;

/**
 * Digest of everything that decides which lines are refused, which segment a prompt belongs to and which are marked. A run that is resumed
 * skips rows that are durable; under another cut it would skip or repeat the wrong ones.
 */
export function cutSha256(settings: ProducerSettings): string {
  const cut = {
    rules: rulesVersion,
    estimator: estimatorVersion,
    classes: settings.contextClasses.map(({ name, tokensMax }) => [name, tokensMax]),
    defaults: [settings.defaults.topic, settings.defaults.priority, settings.defaults.client, settings.defaults.model ?? null, settings.defaults.maxTokens ?? null],
    price: settings.price.version,
    api: settings.anthropicVersion,
    lineBytesMax: settings.lineBytesMax,
    ...(settings.cache && { cache: [[...settings.cache.topics].sort(), settings.cache.after, settings.cache.isPriming] }),
  };
  return createHash('sha256').update(JSON.stringify(cut)).digest('hex');
}

/** The part of the settings that judges lines. */
export function intakeRules(settings: ProducerSettings): IntakeRules {
  const { anthropicVersion, price, contextClasses, defaults, lineBytesMax, cache, terms } = settings;
  return { anthropicVersion, price, contextClasses, defaults, lineBytesMax, cache, terms };
}

/** Whether a bound on bad lines is set, so that nothing may be sent before the whole source was judged. */
export function isGuarded(settings: ProducerSettings): boolean {
  return settings.isStrict || settings.badRowsMax.kind !== 'none';
}

/**
 * Whether the bad lines are too many. A percentage is only judged `atEnd`: on the way it would depend on where in the
 * source the bad lines stand.
 */
export function isBoundBroken(settings: ProducerSettings, rejected: number, rows: number, atEnd: boolean): boolean {
  if (rejected === 0) return false;
  const { badRowsMax, isStrict } = settings;
  if (isStrict && atEnd) return true;
  if (badRowsMax.kind === 'rows') return rejected > badRowsMax.rows;
  return badRowsMax.kind === 'percent' && atEnd && rejected * 100 > badRowsMax.percent * rows;
}
