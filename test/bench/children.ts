/**
 * The measuring side: every measurement runs in a process of its own, so that its peak of resident memory is its own.
 * `BENCH_PROFILE=<folder>` leaves a CPU profile of each of them there.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { peakMb, type Figures } from './child.ts';

/** A program that serves another. */
export interface Served {
  /** The first line that it printed: where it listens, or that it is ready. */
  readonly line: string;
  peakMb(): number;
  stop(): Promise<void>;
}

/** Starts the compiled programs of a folder. */
export class Children {
  readonly #programs: string;
  readonly #living = new Set<ChildProcess>();

  constructor(programs: string) {
    this.#programs = programs;
  }

  /** Runs a program, named relative to this folder without its ending, and returns what it measured. @throws Error when it fails */
  async measure(program: string, ...args: readonly string[]): Promise<Figures> {
    const profile = process.env['BENCH_PROFILE'];
    const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
    const child = this.#start([...flags, join(this.#programs, `${program}.js`), ...args], 'inherit');
    const output = collected(child);
    const [code, signal] = await once(child, 'close');
    const last = output().trim().split('\n').at(-1) ?? '';
    if (code !== 0 || !last.startsWith('{')) throw new Error(`${program} ${args.join(' ')} ended with ${String(code ?? signal)} and printed ${JSON.stringify(last)}`);
    return JSON.parse(last) as Figures;
  }

  /** Starts a server program and waits for its first line. */
  async serve(program: string, ...args: readonly string[]): Promise<Served> {
    return await this.#served([join(this.#programs, `${program}.js`), ...args], 'stdout', {});
  }

  /** Starts `plimsoll work` in a home and waits for its first line. */
  async work(home: string, providerUrl: string): Promise<Served> {
    const args = [join(this.#programs, '../../cli/plimsoll.js'), 'work', '--home', home, '--config', join(home, 'plimsoll.yaml')];
    return await this.#served(args, 'stderr', { ANTHROPIC_API_KEY: 'bench', ANTHROPIC_BASE_URL: providerUrl });
  }

  /** Ends what still runs. */
  stop(): void {
    for (const child of this.#living) child.kill('SIGKILL');
  }

  async #served(args: readonly string[], stream: 'stdout' | 'stderr', env: Readonly<Record<string, string>>): Promise<Served> {
    const child = this.#start(args, stream === 'stderr' ? 'pipe' : 'inherit', env);
    const closed = once(child, 'close');
    const output = collected(child, stream);
    const line = await new Promise<string>((resolve, reject) => {
      child[stream]?.on('data', () => {
        if (output().includes('\n')) resolve(output().slice(0, output().indexOf('\n')));
      });
      child.once('close', () => reject(new Error(`${args.join(' ')} ended before it was ready: ${output()}`)));
    });
    return {
      line,
      peakMb: () => peakMb(child.pid ?? 0),
      async stop() {
        child.kill('SIGTERM');
        await closed;
      },
    };
  }

  #start(args: readonly string[], stderr: 'inherit' | 'pipe', env: Readonly<Record<string, string>> = {}): ChildProcess {
    const child = spawn(process.execPath, [...args], { stdio: ['ignore', 'pipe', stderr], env: { ...process.env, ...env } });
    this.#living.add(child);
    child.once('close', () => this.#living.delete(child));
    return child;
  }
}

/** Gathers what a child prints. */
function collected(child: ChildProcess, stream: 'stdout' | 'stderr' = 'stdout'): () => string {
  let output = '';
  child[stream]?.on('data', (block) => {
    output += String(block);
  });
  return () => output;
}
