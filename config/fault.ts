/**
 * Faults of the configuration: all of them at once, each with the place it came from. Values are shown as they were
 * given, secrets never: the text of an error reaches terminals, logs and tickets.
 */
import { PlimsollError } from '../segments/errors.ts';

/** One thing that is wrong with the configuration. */
export interface ConfigFault {
  /** The setting, `poll.min`; empty when the fault is of a whole source, such as a file that is no YAML. */
  readonly path: string;
  /** `file:line:column`, a variable, a flag, or `default`. */
  readonly origin: string;
  /** The value as it was given, quoted and cut short; masked for a secret; undefined where showing it could reveal one. */
  readonly value: string | undefined;
  /** What would be right, as the end of "must be …"; undefined for a fault that no value would mend. */
  readonly allowed: string | undefined;
  /** What is wrong, one sentence without the origin. */
  readonly message: string;
  /** The name that was probably meant. */
  readonly suggestion: string | undefined;
}

/** `config_invalid` with every fault that was found; the message lists them all. */
export class ConfigError extends PlimsollError {
  readonly faults: readonly ConfigFault[];

  constructor(faults: readonly ConfigFault[]) {
    const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`;
    super('config_invalid', {
      message: [`The configuration has ${count}:`, ...faults.map((fault) => `  ${faultText(fault)}`)].join('\n'),
      where: faults[0]?.origin ?? '',
      hint: 'Correct what is listed and start again; nothing was started or changed.',
    });
    this.faults = faults;
  }
}

/** One fault as one line: origin, what is wrong, what was probably meant. */
export function faultText(fault: ConfigFault): string {
  const meant = fault.suggestion === undefined ? '' : ` Did you mean ${fault.suggestion}?`;
  return `${fault.origin}: ${fault.message}${meant}`;
}

/** A fault of a value: "poll.min is "5 minutes"; it must be …". */
export function valueFault(path: string, origin: string, shown: string | undefined, allowed: string, suggestion?: string): ConfigFault {
  const found = shown === undefined ? `${path} is missing` : `${path} is ${shown}`;
  return { path, origin, value: shown, allowed, message: `${found}; it must be ${allowed}.`, suggestion };
}

/** A fault that is not of a value: a name that is not known, a source that cannot be read. */
export function plainFault(path: string, origin: string, message: string, suggestion?: string): ConfigFault {
  return { path, origin, value: undefined, allowed: undefined, message, suggestion };
}

const shownLengthMax = 60;
/** Anthropic's keys begin so; one that was put into the wrong setting must not be printed either. */
const keyPattern = /sk-ant-\S*/g;

/** A secret by its last four characters, which is how the provider's console lists keys; short ones not at all. */
export function maskSecret(secret: string): string {
  return secret.length >= 16 ? `…${secret.slice(-4)}` : '…';
}

/** Any text without the password of a URL and without keys. */
export function maskUrl(text: string): string {
  return text
    .replace(/(\/\/[^:@/]*):.*@/, '$1:…@')
    .replaceAll(/([?&]password=)[^&"]*/gi, '$1…')
    .replaceAll(keyPattern, 'sk-ant-…');
}

/** A value for a message: JSON, so that blanks and control characters are seen; at most 60 characters. */
export function showValue(value: unknown, isSecret: boolean): string | undefined {
  if (value === undefined) return undefined;
  if (isSecret) return typeof value === 'string' ? maskSecret(value) : '…';
  const text = maskUrl(typeof value === 'bigint' ? String(value) : JSON.stringify(value));
  return text.length > shownLengthMax ? `${text.slice(0, shownLengthMax)}…` : text;
}
