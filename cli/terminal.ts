/**
 * What goes where: data on stdout, everything else on stderr. Colour only on a terminal that wants it.
 *
 * Log lines carry names, ids and numbers. Human form is one line of words; `json` is one pino object per line.
 */
import { styleText } from 'node:util';
import { pino } from 'pino';
import type { Config } from '../config/config.ts';
import { ConfigError } from '../config/fault.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import type { Log } from '../segments/stage.ts';

/** Prints data: one document, or one line. */
export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Prints a document for programs. */
export function printJson(document: unknown): void {
  print(JSON.stringify(document));
}

/** Tells a person something; never data. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

type LogLevel = Config['log']['level'];

/** A log for people (`words`) or for collectors (`json`), on stderr. */
export function openLog(level: LogLevel, form: 'words' | 'json'): Log {
  const logger = pino({ level, base: null, messageKey: 'event' }, pino.destination({ dest: 2, sync: true }));
  if (form === 'json') return (line) => logger[line.level]({ subject: line.subject, ...line.detail }, line.event);
  return (line) => {
    if (!logger.isLevelEnabled(line.level)) return;
    const detail = Object.entries(line.detail ?? {}).filter(([, value]) => value !== undefined);
    tell(`${paint(line.level)} ${line.event} ${line.subject}${detail.map(([name, value]) => ` ${name}=${String(value)}`).join('')}`);
  };
}

function paint(level: 'debug' | 'info' | 'warn' | 'error'): string {
  if (!isColourful()) return level;
  return styleText(level === 'error' ? 'red' : level === 'warn' ? 'yellow' : 'dim', level);
}

export function isColourful(): boolean {
  return process.stderr.isTTY === true && process.stderr.hasColors();
}

/** Says what went wrong, where, and what to do next. A stack only for defects: it is of no use to an operator. */
export function tellError(error: unknown): ExitCode {
  if (error instanceof ConfigError) {
    tell(`plimsoll: ${error.message}`);
    return error.exit;
  }
  if (error instanceof PlimsollError) {
    tell(`plimsoll: ${error.message}${error.where ? ` (${error.where})` : ''}`);
    if (error.hint) tell(`  ${error.hint}`);
    tell(`  [${error.code}]`);
    return error.exit;
  }
  tell(`plimsoll: a defect: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  return 1;
}

/** Integers with thin separators, as people read them. */
export function countText(value: number): string {
  return value.toLocaleString('en-US');
}

/** A count with its noun: `1 line`, `2,310 lines`. */
export function countOf(value: number, noun: string, plural = noun.endsWith('ch') ? `${noun}es` : `${noun}s`): string {
  return `${countText(value)} ${value === 1 ? noun : plural}`;
}

/** Micro-USD as dollars; more digits for small amounts, so that a cost is never shown as nothing. */
export function dollarText(microUsd: number): string {
  const dollars = Math.abs(microUsd) / 1_000_000;
  return `${microUsd < 0 ? '-' : ''}$${microUsd !== 0 && dollars < 1 ? dollars.toFixed(4) : dollars.toFixed(2)}`;
}

/** A table with the first columns (`names` of them) to the left and the others to the right. */
export function tableText(head: readonly string[], rows: readonly (readonly string[])[], names = 1): string {
  const all = [head, ...rows];
  const widths = head.map((_name, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) => row.map((cell, column) => (column < names ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ').trimEnd())
    .join('\n');
}
