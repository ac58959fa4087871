/**
 * The named crash points. A point is one durable effect of the product and a side of it, such as `lake.intent:after` or
 * `ledger.send-intent:before`; so every Lua script, every kind of object in the lake and every call of the provider is
 * one, and a new script is a new point without anybody naming it. Pure: shared by the schedule, which chooses points, and
 * by `seams.ts`, which is loaded into the processes of the product and strikes there.
 */

/** What happens at a point. `fail` is an error of the world there: a lost connection, a disk fault. `full`: no room on the disk from here on, for `ms`. */
export type StrikeKind = 'kill' | 'stop' | 'fail' | 'delay' | 'full' | 'clock' | 'term';

/** One fault at a point of one process. */
export interface Strike {
  readonly id: string;
  readonly point: string;
  /** It strikes the nth time that the process comes by, counted from 1. */
  readonly nth: number;
  readonly kind: StrikeKind;
  /** How long it stops, waits or has no room; for `kill`, how long after the point; for `clock`, how far the clock jumps. */
  readonly ms: number;
}

/** What `seams.ts` is told through the environment, as JSON. */
export interface Plan {
  readonly strikes: readonly Strike[];
  /** Folder of the lake. */
  readonly lake: string;
  /** What the paths of its objects begin with where it stands in a bucket: `/bucket/prefix/`. */
  readonly bucket?: string | undefined;
  /** Name of each script by its sha1. */
  readonly scripts: Readonly<Record<string, string>>;
}

/** What `seams.ts` tells on descriptor 3, one JSON object per line. */
export interface Struck {
  readonly id: string;
  /** Ids of the request that was struck, for measurements: archive, intent or chunk. */
  readonly subject: string;
}

const lakeKinds: readonly (readonly [pattern: RegExp, kind: string])[] = [
  [/^spool\//, 'spool'],
  [/^journal\/runs\/[^/]+\/open\.json$/, 'run-open'],
  [/^journal\/runs\/[^/]+\/ingested\.json$/, 'run-ingested'],
  [/^journal\/runs\/[^/]+\/canceled\.json$/, 'run-canceled'],
  [/^journal\/runs\/[^/]+\/sections\//, 'section'],
  [/^journal\/replans\//, 'replan'],
  [/^journal\/budgets\//, 'budget'],
  [/^journal\/holds\//, 'hold'],
  [/^journal\/archives\/.*\.halved\.json$/, 'halved'],
  [/^journal\/archives\/.*\.rejected\.json$/, 'rejected'],
  [/^journal\/archives\/.*\.forgone\.json$/, 'forgone'],
  [/^journal\/archives\//, 'sealed'],
  [/^journal\/intents\//, 'intent'],
  [/^journal\/accepted\//, 'accepted'],
  [/^journal\/results\//, 'result-lines'],
  [/^journal\/outcomes\//, 'outcome'],
  [/^journal\/generation\//, 'generation'],
  [/^journal\/recoveries\//, 'recovery'],
  [/^results\//, 'results'],
  [/^errors\//, 'errors'],
  [/^runs\/[^/]+\/[^/]+\/archives\//, 'archive-manifest'],
  [/^runs\/.*\/manifest\.json$/, 'run-manifest'],
  [/^runs\/.*\/run\.json$/, 'run-report'],
  [/^runs\/.*\/cost\.csv$/, 'run-cost'],
  [/^runs\/.*\/_SUCCESS$/, 'run-success'],
];

/** The kind of a lake object by its key; `other` for what is no step of the pipeline. */
export function lakeKind(key: string): string {
  return lakeKinds.find(([pattern]) => pattern.test(key))?.[1] ?? 'other';
}

/** The operation that a call of the provider is. */
export function claudeOperation(method: string, path: string, query: URLSearchParams): string {
  if (method === 'POST') return path.endsWith('/cancel') ? 'cancel' : 'create';
  if (path.endsWith('/results')) return 'results';
  if (/\/batches\/[^/]+$/.test(path)) return 'retrieve';
  return query.get('limit') === '1' ? 'probe' : 'list';
}

const around = (name: string): readonly string[] => [`${name}:before`, `${name}:after`];

/** Points that a process passes, by the process that passes them in the usual course of things. */
export const producerPoints: readonly string[] = [
  ...['run-open', 'spool', 'run-ingested'].flatMap((kind) => around(`lake.${kind}`)),
  ...['open-run', 'add-chunk', 'flush-run', 'flush-archives'].flatMap((name) => around(`ledger.${name}`)),
];

/** Points that every seed with a batch passes. */
export const workerPoints: readonly string[] = [
  ...['sealed', 'intent', 'accepted', 'result-lines', 'outcome', 'results', 'archive-manifest', 'run-manifest', 'run-report', 'run-cost', 'run-success', 'generation'].flatMap((kind) => around(`lake.${kind}`)),
  ...[
    'next-segment', 'admit', 'close-archive', 'seal-archive', 'prepare-intent', 'arm-intent', 'send-intent', 'accept-intent', 'end-archive', 'settle',
    'export-archive', 'complete-run', 'claim', 'release', 'overdue', 'raise-generation', 'claim-relay', 'advance-relay',
  ].flatMap((name) => around(`ledger.${name}`)),
  ...['probe', 'create', 'retrieve', 'results'].flatMap((name) => around(`claude.${name}`)),
  'claude.create:midway', 'claude.create:sent', 'claude.results:midway',
  ...around('queue.script'),
];

/** Points that only a doubt, a refusal, a retry or a split passes. */
export const rarePoints: readonly string[] = [
  ...['doubt-intent', 'fence-intent', 'note-look', 'absolve-intent', 'watch-batch', 'refuse-intent', 'halve-archive', 'reject-archive', 'split', 'hold', 'resume-held', 'expire-lane', 'defer-poll', 'renew-lane', 'disown-batch', 'flush-archives'].flatMap((name) => around(`ledger.${name}`)),
  ...['halved', 'rejected', 'errors', 'spool'].flatMap((kind) => around(`lake.${kind}`)),
  ...around('claude.list'),
];

/** Points of a rebuild. */
export const recoverPoints: readonly string[] = [
  ...['restore-begin', 'restore-run', 'restore-archive', 'restore-chunks', 'restore-end'].flatMap((name) => around(`ledger.${name}`)),
  ...around('lake.recovery'),
];

/** What a person does in a seed; each act is a command, or a few in a row. */
export const operatorActs = ['cancel', 'hold_run', 'hold_segment', 'replan', 'budget', 'forgo', 'forgo_held'] as const;
export type OperatorAct = (typeof operatorActs)[number];

/** Points that a person's commands pass, by act. */
export const operatorPoints: Readonly<Record<OperatorAct, readonly string[]>> = {
  cancel: [...around('ledger.cancel-run'), ...around('lake.run-canceled')],
  hold_run: [...around('ledger.hold'), ...around('lake.hold')],
  hold_segment: around('ledger.resume'),
  replan: [...around('ledger.replan-chunks'), ...around('lake.replan')],
  budget: [...around('ledger.set-budget'), ...around('lake.budget')],
  forgo: [...around('ledger.forgo-intent'), ...around('lake.forgone')],
  forgo_held: around('ledger.hold-intent'),
};

/** Every point that a summary counts. */
export const allPoints: readonly string[] = [...new Set([...producerPoints, ...workerPoints, ...rarePoints, ...recoverPoints, ...Object.values(operatorPoints).flat()])].sort();
