/** Finds what an operator has named: a run, or a segment. A name that is not known is answered with the nearest one that is. */
import { suggest } from '../config/suggest.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { HoldTarget, Ledger, RunRecord } from '../segments/ledger/ledger.ts';
import { asRunKey, segmentParts, type SegmentName } from '../segments/segment.ts';

const listedMax = 5;

/** The run of this key. @throws PlimsollError `run_unknown` */
export async function findRun(ledger: Ledger, name: string): Promise<RunRecord> {
  const key = asRunKey(name);
  const run = key === undefined ? undefined : await ledger.readRun(key);
  if (run) return run;
  throw runUnknown(name, await ledger.listRuns());
}

/**
 * The segment or the run of this name; `segment:NAME` and `run:KEY` say which is meant.
 * @throws PlimsollError `run_unknown`, `segment_unknown`, `usage` when both exist
 */
export async function findTarget(ledger: Ledger, name: string, nowMs: number): Promise<HoldTarget> {
  const segments = (await ledger.listSegments(nowMs)).map(({ segment }) => segment);
  if (name.startsWith('run:')) return { kind: 'run', run: (await findRun(ledger, name.slice(4))).run };
  const plain = name.startsWith('segment:') ? name.slice('segment:'.length) : name;
  const segment = segments.find((each) => each === plain);
  const key = plain === name ? asRunKey(name) : undefined;
  const run = key === undefined ? undefined : await ledger.readRun(key);
  if (segment && run) {
    throw new PlimsollError('usage', { message: `${name} is the name of a run and of a segment`, where: name, hint: `Say which one: run:${name} or segment:${name}.` });
  }
  if (run) return { kind: 'run', run: run.run };
  if (segment) return { kind: 'segment', segment };
  if (plain !== name || segmentParts(name)) throw segmentUnknown(plain, segments);
  const ofTopic = segments.filter((each) => segmentParts(each)?.topic === name);
  if (ofTopic.length > 0) {
    throw new PlimsollError('segment_unknown', {
      message: `${name} is a topic; its segments are held and resumed one by one`,
      where: name,
      hint: `Its segments: ${ofTopic.slice(0, listedMax).join(', ')}${ofTopic.length > listedMax ? ', …' : ''}`,
    });
  }
  throw runUnknown(name, await ledger.listRuns(), segments);
}

function runUnknown(name: string, runs: readonly string[], segments: readonly string[] = []): PlimsollError {
  const near = suggest(name, [...runs, ...segments]);
  const known = runs.length === 0 ? 'There is no run yet: plimsoll run FILE --run-key KEY' : `plimsoll status lists all ${runs.length}.`;
  return new PlimsollError('run_unknown', {
    message: `no run${segments.length > 0 ? ' and no segment' : ''} is called ${JSON.stringify(name)}`,
    where: name,
    hint: near === undefined ? known : `Did you mean ${near}?`,
  });
}

function segmentUnknown(name: string, segments: readonly SegmentName[]): PlimsollError {
  const near = suggest(name, segments);
  return new PlimsollError('segment_unknown', {
    message: `no segment is called ${JSON.stringify(name)}`,
    where: name,
    hint: near === undefined ? 'A segment is known from its first prompt on; plimsoll status lists those that have work.' : `Did you mean ${near}?`,
  });
}
