import { FAULTS, type FaultKind, type Operation } from './faultkinds.ts';
import { uniform } from './seeded.ts';

/**
 * Decides which calls are hit by which fault.
 *
 * It owns the rules and their counters. Playing a fault is the business of the code at the place where it strikes: that code asks
 * `call.take('reply_lost')` and gets the rule if it is to strike there.
 *
 * Invariants
 *   F1  The same rules, seed and sequence of calls give the same faults.
 *   F2  A rule counts every call it matches, from 1, whether it strikes or not: `nth: 2` is the second matching call.
 *   F3  A rule strikes at most `count` times.
 *   F4  Every strike is reported once, before the client can notice it.
 */

/** One rule of a script. Field names are those of the JSON script. */
export interface FaultRule {
  readonly fault: FaultKind;
  /** Operation, `batches.*`, `messages.*` or `*`; absent: the usual one of this fault. */
  readonly on?: string;
  /** Strike only at these matching calls, counted from 1. */
  readonly nth?: number | readonly number[];
  /** Strike only after this many matching calls. */
  readonly after?: number;
  /** Strike at most this often. */
  readonly count?: number;
  /** Probability per call; for faults of rows the share of rows. 0 … 1. */
  readonly rate?: number;
  /** Rows concerned (rows and results faults). */
  readonly rows?: number;
  readonly seconds?: number;
  readonly bytes?: number;
  readonly bytes_per_second?: number;
  readonly above_bytes?: number;
  readonly body_contains?: string;
  readonly status?: number;
  readonly retry_after?: number;
  readonly error_type?: string;
  /** `error.details.error_code` of an injected error. */
  readonly error_code?: string;
  readonly message?: string;
  /** Do the work although an error is answered. */
  readonly accept?: boolean;
  /** Answer before the body has been read. */
  readonly early?: boolean;
  /** Break the connection instead of ending the reply properly. */
  readonly abort?: boolean;
  /** Keep the connection open instead of closing it. */
  readonly hang?: boolean;
  /** The limit of a workspace instead of the organisation's. */
  readonly workspace?: boolean;
}

export interface FaultScript {
  /** Seed of the rules with a rate; absent: the simulator's seed. */
  readonly seed?: number;
  readonly faults: readonly FaultRule[];
}

/** A rule with its counters, as the control endpoint shows it. */
export interface ArmedRule {
  readonly index: number;
  readonly rule: FaultRule;
  /** Matching calls seen. */
  readonly calls: number;
  /** Strikes so far. */
  readonly strikes: number;
}

/** Told of each strike (F4). */
export type StrikeReport = (kind: FaultKind, ruleIndex: number, operation: string, requestId: string) => void;

interface Entry {
  readonly index: number;
  readonly rule: FaultRule;
  readonly seed: number;
  calls: number;
  strikes: number;
}

export class FaultEngine {
  readonly #seed: number;
  readonly #report: StrikeReport;
  #entries: Entry[] = [];
  #added = 0;

  constructor(seed: number, report: StrikeReport) {
    this.#seed = seed;
    this.#report = report;
  }

  /** Arms the rules of a script beside those already armed. */
  add(script: FaultScript): void {
    for (const rule of script.faults) {
      this.#entries.push({ index: this.#added, rule, seed: script.seed ?? this.#seed, calls: 0, strikes: 0 });
      this.#added += 1;
    }
  }

  /** Disarms every rule. */
  clear(): void {
    this.#entries = [];
  }

  /** The armed rules and their counters. */
  list(): readonly ArmedRule[] {
    return this.#entries.map(({ index, rule, calls, strikes }) => ({ index, rule, calls, strikes }));
  }

  /** Counts the call for every rule that matches it and returns what may strike during it. */
  begin(operation: Operation, requestId: string): CallFaults {
    const due: Entry[] = [];
    for (const entry of this.#entries) {
      if (matches(entry.rule.on ?? FAULTS[entry.rule.fault].on, operation)) {
        entry.calls += 1;
        if (strikesAt(entry)) {
          due.push(entry);
        }
      }
    }
    return new CallFaults(due, (entry) => this.#report(entry.rule.fault, entry.index, operation, requestId));
  }
}

/** The faults due during one call. */
export class CallFaults {
  readonly #due: readonly Entry[];
  readonly #report: (entry: Entry) => void;

  constructor(due: readonly Entry[], report: (entry: Entry) => void) {
    this.#due = due;
    this.#report = report;
  }

  /** The rule of this kind that is due, without striking. `suits` narrows by the rule's own conditions. */
  peek(kind: FaultKind, suits: (rule: FaultRule) => boolean = () => true): FaultRule | undefined {
    return this.#find(kind, suits)?.rule;
  }

  /** The rule of this kind that strikes now, counted and reported, or undefined. */
  take(kind: FaultKind, suits: (rule: FaultRule) => boolean = () => true): FaultRule | undefined {
    const entry = this.#find(kind, suits);
    if (entry !== undefined) {
      entry.strikes += 1;
      this.#report(entry);
    }
    return entry?.rule;
  }

  /** All rules about rows; they strike the batch that this call creates. */
  takeRowRules(): readonly FaultRule[] {
    const entries = this.#due.filter((entry) => FAULTS[entry.rule.fault].group === 'row' && entry.strikes < (entry.rule.count ?? Infinity));
    for (const entry of entries) {
      entry.strikes += 1;
      this.#report(entry);
    }
    return entries.map((entry) => entry.rule);
  }

  #find(kind: FaultKind, suits: (rule: FaultRule) => boolean): Entry | undefined {
    return this.#due.find((entry) => entry.rule.fault === kind && entry.strikes < (entry.rule.count ?? Infinity) && suits(entry.rule));
  }
}

function matches(pattern: string, operation: Operation): boolean {
  return pattern === '*' || pattern === operation || (pattern.endsWith('.*') && operation.startsWith(pattern.slice(0, -1)));
}

function strikesAt(entry: Entry): boolean {
  const { rule, calls } = entry;
  if (rule.nth !== undefined && !(typeof rule.nth === 'number' ? rule.nth === calls : rule.nth.includes(calls))) {
    return false;
  }
  if (rule.after !== undefined && calls <= rule.after) {
    return false;
  }
  const isRate = rule.rate !== undefined && FAULTS[rule.fault].group !== 'row';
  return !isRate || uniform(entry.seed, 'fault', entry.index, calls) < (rule.rate ?? 0);
}
