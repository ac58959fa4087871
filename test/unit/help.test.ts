/** Every page of the help: it has examples and exit codes, and what its examples and its text name is there. */
import { CommanderError, type Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { openProgram, overrideExits, verbsOf } from '../../cli/verbs.ts';

const program = openProgram();
for (const load of Object.values(verbsOf(program, () => undefined))) program.addCommand(await load());
overrideExits(program);

interface Page {
  readonly name: string;
  readonly command: Command;
  readonly text: string;
}

function pagesOf(command: Command, path: readonly string[]): readonly Page[] {
  let text = '';
  command.configureOutput({ writeOut: (part) => void (text += part), writeErr: () => undefined });
  command.outputHelp();
  return [{ name: path.join(' '), command, text }, ...command.commands.flatMap((sub) => pagesOf(sub, [...path, sub.name()]))];
}

const pages = pagesOf(program, ['plimsoll']);
const flags = new Set([...pages.flatMap(({ command }) => command.options.map((option) => option.long)), '--help']);

/** The lines of the section of examples, from its heading to the next empty line. */
function examplesOf(text: string): readonly string[] {
  const [, section = ''] = /^Examples?:\n((?: {2}.*\n)+)/m.exec(text) ?? [];
  return section.split('\n').map((line) => line.trim()).filter((line) => line !== '');
}

/** The calls of plimsoll in a line of shell, as words; other programs of a pipe are left out. */
function callsOf(line: string): readonly (readonly string[])[] {
  const calls: string[][] = [[]];
  for (const [word, single, double, separator, comment, plain] of line.matchAll(/'([^']*)'|"([^"]*)"|(\|\||&&|[|;<>()])|(#.*$)|([^\s'"|;&<>()#]+)/g)) {
    if (comment !== undefined) break;
    if (separator !== undefined) calls.push([]);
    else calls.at(-1)?.push(single ?? double ?? plain ?? word);
  }
  return calls.filter(([first]) => first === 'plimsoll').map(([, ...words]) => words);
}

/** What is wrong with a call, or nothing. It is parsed as the program would, up to the point where the verb would act. */
function mistakeIn(words: readonly string[]): string | undefined {
  let command = program;
  let rest = [...words];
  for (let sub = command.commands.find((each) => each.name() === rest[0]); sub; sub = command.commands.find((each) => each.name() === rest[0])) {
    command = sub;
    rest = rest.slice(1);
  }
  if (command === program) return `there is no verb ${words[0] ?? ''}`;
  try {
    const { operands, unknown } = command.parseOptions(rest);
    if (unknown.length > 0) return `${command.name()} does not know ${unknown.join(' ')}`;
    const missing = command.options.find((option) => option.mandatory && !rest.includes(option.long ?? ''));
    if (missing) return `${command.name()} needs ${missing.flags}`;
    const given = command.registeredArguments;
    if (operands.length < given.filter((each) => each.required).length) return `${command.name()} needs more arguments`;
    if (operands.length > given.length) return `${command.name()} takes fewer arguments`;
    for (const [index, operand] of operands.entries()) given[index]?.parseArg?.(operand, undefined);
    return undefined;
  } catch (error) {
    if (error instanceof CommanderError) return error.message;
    throw error;
  }
}

describe.each(pages)('the help of $name', ({ name, command, text }) => {
  it('has examples, one of the command itself, and its exit codes', () => {
    const verb = name.split(' ').slice(1).join(' ');
    expect(examplesOf(text).flatMap(callsOf).filter((words) => words.join(' ').startsWith(verb)).length, text).toBeGreaterThan(0);
    const codes = [...(/^Exit codes: ((?:.+\n?)+)/m.exec(text)?.[1] ?? '').matchAll(/(?:^|, )(\d+) /g)].map(([, code]) => Number(code));
    expect(codes[0]).toBe(0);
    expect(codes).toContain(2);
    expect(codes.filter((code) => ![0, 1, 2, 3, 4, 5, 6, 130].includes(code))).toEqual([]);
    expect(command.description()).toMatch(/\.$/);
  });

  it('offers JSON where the command does something itself', () => {
    if (command.commands.length === 0) expect(command.options.map((option) => option.long)).toContain('--json');
  });

  it('has examples that can be called as they stand, and names no option that is not there', () => {
    expect(examplesOf(text).flatMap(callsOf).flatMap((words) => mistakeIn(words) ?? [])).toEqual([]);
    expect([...text.matchAll(/(?<![\w-])--[a-z][a-z0-9-]*/g)].map(([flag]) => flag).filter((flag) => !flags.has(flag))).toEqual([]);
  });
});

describe('the test itself', () => {
  it.each([
    ['plimsoll runn in.jsonl', 'there is no verb runn'],
    ['plimsoll run in.jsonl', 'run needs --run-key <key>'],
    ['zcat x | plimsoll plan - --topik x', 'plan does not know --topik x'],
    ['plimsoll cancel', 'cancel needs more arguments'],
    ['plimsoll status now', 'status takes fewer arguments'],
  ])('finds what is wrong with %s', (line, mistake) => {
    expect(callsOf(line).flatMap((words) => mistakeIn(words) ?? [])).toEqual([mistake]);
  });
});
