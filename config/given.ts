/**
 * Values as a source gives them, before they are merged: what a flag, a variable or a line of a file says about one
 * setting. Each is judged where it stands, so a wrong line in a file is reported even when a variable overrides it.
 */
import type { z } from 'zod';
import { plainFault, showValue, valueFault } from './fault.ts';
import type { ConfigFault } from './fault.ts';
import { suggest } from './suggest.ts';
import type { Setting } from './tree.ts';

/** One setting as one source gives it. */
export interface Given {
  readonly setting: Setting;
  readonly value: unknown;
  /** Where the value, or the part of it at `at`, was written: `file:line:column`, a variable or a flag. */
  readonly origin: (at: readonly PropertyKey[]) => string;
}

/** What a source says, and what in it could not be read. */
export interface Layer {
  readonly given: readonly Given[];
  readonly faults: readonly ConfigFault[];
}

function partAt(value: unknown, at: readonly PropertyKey[]): unknown {
  let part = value;
  for (const key of at) {
    if (typeof part !== 'object' || part === null || !Object.hasOwn(part, key)) return undefined;
    part = Reflect.get(part, key);
  }
  return part;
}

function pathTo(setting: Setting, at: readonly PropertyKey[]): string {
  return [setting.path, ...at.map(String)].join('.');
}

/** The names that may stand inside a list or a map of settings, for suggestions. */
const innerNames: ReadonlyMap<string, readonly string[]> = new Map([
  ['contexts', ['name', 'tokensMax']],
  ['budgets', ['tokens', 'usd', 'runtime', 'window', 'timeZone', 'mode', 'onLate']],
  ['tiers', ['requestsPerMinute', 'requestsPerDay', 'tokensPerMinute', 'tokensPerDay', 'contextTokensMax', 'priorities', 'metadata', 'weight', 'budget', 'over']],
  ['clients', ['weight', 'tier']],
  ['events.sinks', ['kind', 'url', 'group', 'types', 'from']],
]);

function unknownNames(keys: readonly string[], within: readonly PropertyKey[], { setting, origin }: Given): readonly ConfigFault[] {
  return keys.map((name) => {
    const at = [...within, name];
    const path = pathTo(setting, at);
    return plainFault(path, origin(at), `${path} is not a setting.`, suggest(name, innerNames.get(setting.path) ?? []));
  });
}

/** A budget on something that no budget can sit on. */
function targetFault(at: readonly PropertyKey[], allowed: string, { setting, origin }: Given): ConfigFault {
  const target = String(at.at(-1));
  const kind = target.split(/[:.]/, 1)[0] ?? '';
  const meant = suggest(kind, ['all', 'topic', 'segment', 'client']);
  const shown = showValue(target, false);
  return {
    path: pathTo(setting, at),
    origin: origin(at),
    value: shown,
    allowed,
    message: `No budget can sit on ${shown ?? 'nothing'}; the target must be ${allowed}.`,
    suggestion: meant === kind ? undefined : meant,
  };
}

function faultsOf(issue: z.core.$ZodIssue, given: Given): readonly ConfigFault[] {
  if (issue.code === 'unrecognized_keys') return unknownNames(issue.keys, issue.path, given);
  if (issue.code === 'invalid_key' && given.setting.path === 'budgets') return [targetFault(issue.path, issue.message, given)];
  const { setting, value, origin } = given;
  const wrong = partAt(value, issue.path);
  const shown = showValue(wrong, setting.note.isSecret);
  const meant = issue.code === 'invalid_value' && typeof wrong === 'string' ? suggest(wrong, issue.values.map(String)) : undefined;
  return [valueFault(pathTo(setting, issue.path), origin(issue.path), shown, issue.message, meant)];
}

/** Everything that is wrong with a value; nothing when it may be used. */
export function judge(given: Given): readonly ConfigFault[] {
  const result = given.setting.type.safeParse(given.value);
  return result.success ? [] : result.error.issues.flatMap((issue) => faultsOf(issue, given));
}
