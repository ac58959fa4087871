/**
 * Every measurement runs in a process of its own, so that its peak of resident memory is its own: a program under test
 * prints one JSON object as its last line, and `VmHWM` of its process goes into it. Starting the process and loading its
 * modules is not part of any time.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a measured program found: times in ms, sizes in bytes, memory in MB. */
export type Figures = Readonly<Record<string, number>>;

/** A program of the benchmark that serves another: it says where it listens and ends when it is told. */
export interface Served {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const programOf = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

function start(file: string, args: readonly string[], stdout: 'pipe', nodeOptions: readonly string[] = []): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', ...nodeOptions, programOf(file), ...args], { stdio: ['ignore', stdout, 'inherit'] });
}

/** Runs a program, relative to this folder, and returns what it measured. @throws Error when it fails */
export async function measure(file: string, ...args: readonly string[]): Promise<Figures> {
  const profile = process.env['BENCH_PROFILE'];
  const child = start(file, args, 'pipe', profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]);
  let output = '';
  child.stdout?.on('data', (block) => {
    output += String(block);
  });
  const [code, signal] = await once(child, 'close');
  const last = output.trim().split('\n').at(-1) ?? '';
  if (code !== 0 || !last.startsWith('{')) throw new Error(`${file} ${args.join(' ')} ended with ${String(code ?? signal)} and printed ${JSON.stringify(last)}`);
  return JSON.parse(last) as Figures;
}

/** Starts a server program and waits for the address it prints. */
export async function serve(file: string, ...args: readonly string[]): Promise<Served> {
  const child = start(file, args, 'pipe');
  const closed = once(child, 'close');
  let output = '';
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout?.on('data', (block) => {
      output += String(block);
      if (output.includes('\n')) resolve(output.slice(0, output.indexOf('\n')));
    });
    child.once('close', () => reject(new Error(`${file} ended before it listened`)));
  });
  return {
    url,
    pid: child.pid ?? 0,
    async stop() {
      child.kill('SIGTERM');
      await closed;
    },
  };
}

/** Ends a measured program: prints its figures, the processor time of all its threads, and its peak of resident memory. */
export function report(figures: Figures): void {
  const { user, system } = process.cpuUsage();
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
