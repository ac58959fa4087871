/**
 * What every measured program does: it reads its arguments and prints one JSON object as its last line. Starting the
 * process and loading its modules is not part of any time.
 */
import { readFileSync } from 'node:fs';

/** What a measured program found: times in ms, sizes in bytes, memory in MB. */
export type Figures = Readonly<Record<string, number>>;

let before = process.cpuUsage();

/** Begins what is measured; returns the instant, as `performance.now()` does. */
export function begin(): number {
  before = process.cpuUsage();
  return performance.now();
}

/** Ends a measured program: prints its figures, the processor time of all its threads since `begin`, and its peak of resident memory. */
export function report(figures: Figures): void {
  const { user, system } = process.cpuUsage(before);
  process.stdout.write(`${JSON.stringify({ ...figures, cpuMs: Math.round((user + system) / 1000), peakMb: peakMb('self') })}\n`);
}

/** The high-water mark of a process's resident memory in MB (1,000,000 bytes), from the kernel. */
export function peakMb(pid: number | 'self'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round((Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? '0') * 1024) / 1e6);
}

/** The n-th argument of a program. */
export function argument(place: number): string {
  const given = process.argv[place + 2];
  if (given === undefined) throw new Error(`argument ${place} is missing`);
  return given;
}
