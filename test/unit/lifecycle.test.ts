import { describe, expect, it } from 'vitest';
import { lifecycle, nextState, statesOf, type Machine, type Noun } from '../../segments/lifecycle.ts';

const machines: readonly [Noun, Machine][] = Object.entries(lifecycle).map(([noun, machine]) => [noun as Noun, machine]);

describe('the state machine', () => {
  it.each(machines)('leaves no terminal state of a %s (L2)', (_noun, machine) => {
    const left = machine.moves.filter((move) => machine.terminal.includes(move.from));
    expect(left).toEqual([]);
  });

  it.each(machines)('lets a %s end or go on from every state that it can reach', (noun, machine) => {
    const stuck = statesOf(noun).filter((state) => !machine.terminal.includes(state) && !machine.moves.some((move) => move.from === state));
    expect(stuck).toEqual([]);
  });

  it.each(machines)('reaches every state of a %s from its initial one', (noun, machine) => {
    const reached = new Set([machine.initial]);
    for (let size = 0; size !== reached.size; ) {
      size = reached.size;
      for (const move of machine.moves) if (reached.has(move.from)) reached.add(move.to);
    }
    expect(statesOf(noun).filter((state) => !reached.has(state))).toEqual([]);
  });

  it.each(machines)('leads a %s from one state by one event to one state only', (_noun, machine) => {
    const pairs = machine.moves.map((move) => `${move.from} ${move.event}`);
    expect(new Set(pairs).size).toBe(pairs.length);
  });

  it.each(machines)('says of every move of a %s who makes it and what has become true', (_noun, machine) => {
    for (const move of machine.moves) {
      expect(move.by).toMatch(/^[a-z]+$/);
      expect(move.meaning).toMatch(/^[A-Z].*\.$/);
      expect(move.meaning).not.toContain('|');
    }
  });

  it('answers undefined for a move that is not in the table (L1)', () => {
    expect(nextState('chunk', 'queued', 'admit')).toBe('packed');
    expect(nextState('chunk', 'done', 'admit')).toBeUndefined();
    expect(nextState('chunk', '', 'admit')).toBeUndefined();
  });

  it('lets an archive be prepared again only after a refusal or a proof of absence (L3)', () => {
    const back = lifecycle.archive.moves.filter((move) => move.to === 'sealed' && move.from !== 'open');
    expect(back.map((move) => `${move.from} ${move.event}`).sort()).toEqual(['in_doubt absolve', 'submitting refuse']);
    for (const event of ['refuse', 'absolve']) {
      const ends = lifecycle.intent.moves.filter((move) => move.event === event).map((move) => move.to);
      expect(ends.every((state) => ['refused', 'absent'].includes(state))).toBe(true);
    }
  });

  it('never lets an intent that was sent be forgotten: it is accepted, refused by a reply, or in doubt', () => {
    expect(lifecycle.intent.moves.filter((move) => move.from === 'sent').map((move) => move.to).sort()).toEqual(['accepted', 'in_doubt', 'refused']);
  });
});
