/** No call of a port is forgotten by the schedules of the box: each is struck, or left out for a reason. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { claudeCalls, claudeCallsLeftOut, laterLedgerCalls, ledgerCalls, ledgerCallsLeftOut, storeCalls, storeCallsLeftOut } from '../chaos/box/calls.ts';
import { laterAimOf, aimOf, secondAimOf } from '../chaos/box/fates.ts';
import { callPoints, laterCallPoints, unreachable, wanted } from '../chaos/box/coverage.ts';

const root = resolve(import.meta.dirname, '../..');

/** The methods of an interface, as its source spells them: a member of an interface is indented by two. */
function methodsOf(file: string, name: string): readonly string[] {
  const [, body] = new RegExp(`^export interface ${name} \\{\\n(.*?)^\\}`, 'ms').exec(readFileSync(join(root, file), 'utf8')) ?? [];
  if (body === undefined) throw new RangeError(`${file} has no interface ${name}`);
  return [...body.matchAll(/^ {2}(\w+)\??[(<]/gm)].flatMap(([, method]) => method ?? []);
}

describe('the calls of the ports', () => {
  it.each([
    ['ledger', methodsOf('segments/ledger/ledger.ts', 'Ledger'), [...ledgerCalls, ...laterLedgerCalls], ledgerCallsLeftOut],
    ['store', methodsOf('segments/store/store.ts', 'Store'), storeCalls, storeCallsLeftOut],
    ['claude', [...methodsOf('workers/claude.ts', 'Claude'), ...methodsOf('workers/claude.ts', 'BatchSearch')], claudeCalls, claudeCallsLeftOut],
  ] as const)('of the %s are each struck by schedules, or left out with a reason', (_port, methods, struck: readonly string[], leftOut: Readonly<Record<string, string>>) => {
    expect(methods.length).toBeGreaterThan(4);
    expect([...struck, ...Object.keys(leftOut)].sort()).toEqual([...methods].sort());
    for (const reason of Object.values(leftOut)) expect(reason.length).toBeGreaterThan(20);
  });

  it('that are struck are wanted of a campaign with every fate', () => {
    for (const call of [...ledgerCalls, ...laterLedgerCalls]) for (const fate of ['crash_before', 'resend', 'stop_after']) expect(wanted).toContain(`point ledger.${call} ${fate}`);
    expect(new Set(wanted).size).toBe(wanted.length);
    expect(Object.keys(unreachable).filter((name) => wanted.includes(name))).toEqual([]);
  });

  it('are each aimed at by some seed of ten thousand, with every fate', () => {
    const aims = new Set(Array.from({ length: 10_000 }, (_, index) => [aimOf(index + 1), secondAimOf(index + 1), laterAimOf(index + 1)]).flat().map((aim) => `${aim?.call} ${aim?.fate}`));
    expect([...callPoints, ...laterCallPoints].filter(({ call, fate }) => !aims.has(`${call} ${fate}`))).toEqual([]);
  });
});
