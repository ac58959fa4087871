import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { luaOf, movesTable, preludeParts, scriptCaller, scriptNames } from '../../segments/ledger/scripts.ts';
import { lifecycle } from '../../segments/lifecycle.ts';

const folder = resolve(import.meta.dirname, '../../segments/ledger/scripts');
const textOf = (name: string): string => readFileSync(join(folder, `${name}.lua`), 'utf8');

describe('the scripts of the ledger', () => {
  it('are the files on the disk, and each of them is loaded', () => {
    const files = readdirSync(folder).filter((name) => name.endsWith('.lua')).map((name) => name.replace('.lua', ''));
    expect(files.sort()).toEqual([...scriptNames].sort());
    expect(readdirSync(join(folder, 'prelude')).sort()).toEqual(preludeParts.map((part) => `${part}.lua`).sort());
  });

  it.each([...scriptNames])('%s opens with its request, its answer and why it is atomic', (name) => {
    const header = textOf(name).split('\n');
    const end = header.findIndex((line) => !line.startsWith('--'));
    const comment = header.slice(0, end).join('\n');
    expect(header[0]).toMatch(/^-- [A-Z].*/);
    expect(comment).toMatch(/\n-- request {2}\{/);
    expect(comment).toMatch(/\n-- returns {2}[[{]/);
    expect(comment).toMatch(/Atomic because/);
  });

  it.each([...scriptNames])('%s never asks the clock or a random number: both would make a resend differ', (name) => {
    expect(textOf(name)).not.toMatch(/'TIME'|os\.|math\.random|'RANDOMKEY'|'SRANDMEMBER'/);
  });

  it.each([...scriptNames, ...preludeParts.map((part) => `prelude/${part}`)])('%s builds every key from the prefix, so that a cluster keeps them in one slot', (name) => {
    const calls = [...textOf(name).matchAll(/redis\.call\('[A-Z]+',\s*([^,)]+)/g)].map((match) => match[1] ?? '');
    const foreign = calls.filter((key) => key.startsWith("'") || key.startsWith('"'));
    expect(foreign).toEqual([]);
  });

  it.each([...scriptNames])('%s gets what it uses of the prelude, before it is used, and the moves of the nouns that it names', (name) => {
    const lua = luaOf(name);
    const own = textOf(name);
    const localsOf = (text: string): readonly string[] => [...text.matchAll(/^local (?:function )?(\w+(?:, \w+)*)/gm)].flatMap((match) => (match[1] ?? '').split(', '));
    const defined = localsOf(lua);
    expect(new Set(defined).size, 'a name that is defined twice hides the first').toBe(defined.length);
    // Without what is in quotes: events are named as functions are.
    const code = lua.replaceAll(/'[^']*'/g, "''");
    for (const local of preludeParts.flatMap((part) => localsOf(textOf(`prelude/${part}`)))) {
      const isUsed = new RegExp(`(?<![\\w.])${local}\\b(?! = )`).exec(code);
      const isDefined = new RegExp(`^local (?:function )?(?:\\w+, )*${local}\\b`, 'm').exec(code);
      if (isUsed) expect(isDefined?.index, local).toBeLessThanOrEqual(isUsed.index);
    }
    // The table of moves is cut down to the nouns that are named, so a noun must never be in a variable.
    for (const [, noun] of own.matchAll(/\b(?:target|change)\(([^,]+),/g)) expect(noun).toMatch(/^'(?:run|chunk|archive|intent|segment)'$/);
    for (const [, noun] of lua.matchAll(/\b(?:target|change)\('(\w+)'/g)) expect(lua).toContain(`['${noun}']={`);
  });

  it('are given every move of the state machine and no other', () => {
    const table = movesTable();
    let count = 0;
    for (const [noun, machine] of Object.entries(lifecycle)) {
      const ofNoun = table.slice(table.indexOf(`['${noun}']={`));
      for (const move of machine.moves) {
        count += 1;
        const ofState = ofNoun.slice(ofNoun.indexOf(`['${move.from}']={`));
        expect(ofState.slice(0, ofState.indexOf('}'))).toContain(`['${move.event}']='${move.to}'`);
      }
    }
    expect([...table.matchAll(/\]='/g)]).toHaveLength(count);
  });
});

it('a script that Redis has to be told whole says redis_unavailable like any other when the connection is lost', async () => {
  const unknown = Object.assign(new Error('NOSCRIPT No matching script'), { name: 'ReplyError' });
  const lost = Object.assign(new Error('Reached the max retries per request limit'), { name: 'MaxRetriesPerRequestError' });
  const redis = { evalsha: async () => await Promise.reject(unknown), eval: async () => await Promise.reject(lost) } as unknown as Redis;
  await expect(scriptCaller(redis, '{t}:')('settle', {})).rejects.toMatchObject({ code: 'redis_unavailable', where: 'script settle' });
});

it.each(['OOM', 'MISCONF', 'READONLY'])('a server that answers %s refuses for now: the caller tries again, and no defect is told', async (code) => {
  const refused = Object.assign(new Error(`${code} and whatever follows`), { name: 'ReplyError' });
  const redis = { evalsha: async () => await Promise.reject(refused) } as unknown as Redis;
  await expect(scriptCaller(redis, '{t}:')('settle', {})).rejects.toMatchObject({ code: 'redis_refused', disposition: 'retry', where: 'script settle' });
});
