/**
 * The submit protocol, checked exhaustively on small cases: with all of its parts no reachable state pays twice or binds
 * a batch to the wrong archive; without any one of them there is a way to do so, and the shortest is shown.
 */
import { describe, expect, it } from 'vitest';
import { lifecycle } from '../../segments/lifecycle.ts';
import { allParts, explore, type Setting, type Verdict } from '../submit-model/explore.ts';

/** One archive, two workers, two crashes, pauses. */
const one: Setting = { parts: allParts, archives: [3], workers: 2, crashes: 2, setBacks: 0, pauses: true, intentsMax: 2 };
const made = new Set<string>();

function check(setting: Setting): Verdict {
  const verdict = explore(setting);
  for (const move of verdict.moves) made.add(move);
  return verdict;
}

const without = (part: keyof typeof allParts, setting: Setting = one): Setting => ({ ...setting, parts: { ...setting.parts, [part]: false } });

describe('with all of its parts the protocol is safe', () => {
  it.each<[string, Setting]>([
    ['one archive, crashes and lost messages', { ...one, pauses: false, intentsMax: 3 }],
    ['one archive, pauses as well', { ...one, crashes: 1, intentsMax: 3 }],
    ['one archive, and a person who may hold it', { ...one, mayHold: true }],
    ['one archive, and a person who may give it up', { ...one, crashes: 1, mayHold: true, mayForgo: true }],
    ['two archives of one count, of which each may be given up', { ...one, archives: [3, 3], crashes: 0, workers: 1, mayForgo: true }],
    ['one archive, and a Redis that is set back', { ...one, crashes: 1, setBacks: 1 }],
    ["one archive, and a stranger's batch of the same count", { ...one, crashes: 1, foreign: 3 }],
    ['two archives of different counts', { ...one, archives: [3, 5], crashes: 0, workers: 1 }],
    ['two archives of one count, of which one waits', { ...one, archives: [3, 3], crashes: 0, workers: 1 }],
    ["two archives of one count, and a stranger's batch of it", { ...one, archives: [3, 3], crashes: 0, workers: 1, pauses: false, foreign: 3 }],
  ])('%s; and every doubt can end', (_what, setting) => {
    const verdict = check(setting);
    expect(verdict.violation).toBeUndefined();
    expect(verdict.stuck).toBeUndefined();
    expect(verdict.states).toBeGreaterThan(1_000);
  });

  it('needs neither fence nor landing wait where a person decides every absence', () => {
    const verdict = check({ ...one, parts: { ...allParts, hold: true, fence: false, landingWait: false } });
    expect(verdict.violation).toBeUndefined();
  });
});

describe('each part is needed', () => {
  const shown = (verdict: Verdict): string => [verdict.violation?.what, ...(verdict.violation?.trace ?? [])].join('\n');

  it('without the intent that is written before the last byte, a create looks as if it never was', () => {
    const verdict = check(without('intent', { ...one, crashes: 1 }));
    expect(shown(verdict)).toMatch(/^DOUBLE BILL\n/);
    expect(verdict.violation?.trace).toContain('the lease ends');
  });

  it('without the intent in the lake, a Redis that is set back forgets what was sent', () => {
    const verdict = check(without('durableIntent', { ...one, crashes: 0, setBacks: 1 }));
    expect(shown(verdict)).toMatch(/^DOUBLE BILL\n/);
    expect(verdict.violation?.trace).toContain('Redis is set back');
    expect(check(without('durableIntent', { ...one, crashes: 1 })).violation).toBeUndefined();
  });

  it('without the landing wait, an empty list is believed while the create is still under way', () => {
    const verdict = check(without('landingWait'));
    expect(shown(verdict)).toMatch(/^DOUBLE BILL\n/);
    const trace = verdict.violation?.trace ?? [];
    expect(trace.indexOf('nothing is found for archive 0')).toBeLessThan(trace.indexOf('create 0 lands'));
    expect(trace).toContain('archive 0 is declared absent');
  });

  it('without the fence, a sender that slept sends after it was declared absent', () => {
    const verdict = check(without('fence', { ...one, crashes: 0 }));
    expect(shown(verdict)).toMatch(/^DOUBLE BILL\n/);
    const trace = verdict.violation?.trace ?? [];
    expect(trace.indexOf('archive 0 is declared absent')).toBeLessThan(trace.findLastIndex((step) => step.endsWith('writes the last byte')));
    expect(check(without('fence', { ...one, pauses: false })).violation).toBeUndefined();
  });

  it('without distinct counts, one archive is bound to the batch of the other', () => {
    const two: Setting = { ...one, archives: [3, 3], crashes: 0, workers: 1 };
    const verdict = check(without('distinctCounts', two));
    expect(shown(verdict)).toMatch(/^MIS-ADOPTION\n/);
    expect(verdict.violation?.trace.at(-1)).toMatch(/by time and count$/);
  });

  it('without the memory of what was given up, another archive of its count is bound to its batch', () => {
    const verdict = check(without('remembered', { ...one, archives: [3, 3], crashes: 0, workers: 1, mayForgo: true }));
    expect(shown(verdict)).toMatch(/^MIS-ADOPTION\n/);
    expect(verdict.violation?.trace).toContain('a person gives archive 0 up');
  });

  it("without the undoing of wrong adoptions, a stranger's results are settled", () => {
    const verdict = check(without('disown', { ...one, crashes: 0, foreign: 3 }));
    expect(shown(verdict)).toMatch(/^WRONG RESULTS\n/);
  });
});

it('the model makes every move of the intent table but those that a person answers for', () => {
  const table = lifecycle.intent.moves.map((move) => `intent ${move.from} ${move.event}`);
  // A person may declare absent what no proof covers; a refusal by a reply is a create that never landed.
  const outside = new Set(['intent held absolve', 'intent sent refuse']);
  expect(table.filter((move) => !made.has(move) && !outside.has(move))).toEqual([]);
});
