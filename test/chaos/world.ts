/** A world for tests with real processes: a home, a lake, a simulated provider, and the command line as its users run it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openHome } from '../../local/home.ts';
import { startSimulator, type Simulator, type SimulatorOptions } from '../../local/simulator/simulator.ts';

const root = resolve(import.meta.dirname, '../..');
/** The built product where the test run has built it, else the sources. */
const built = process.env['TEST_PRODUCT'];
const entry = built === undefined ? ['--import', 'tsx', join(root, 'cli/plimsoll.ts')] : [built];

/** What a process said and how it ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when a text stands on stderr, so many times (once). */
  said(text: string, times?: number): Promise<void>;
}

export interface World {
  readonly folder: string;
  readonly lake: string;
  readonly home: string;
  readonly simulator: Simulator;
  readonly truthFile: string;
  /** Starts `plimsoll` with these arguments; `more` is added to its environment. */
  start(args: readonly string[], more?: Readonly<Record<string, string>>): Running;
  run(args: readonly string[], more?: Readonly<Record<string, string>>): Promise<Ended>;
  write(name: string, text: string): string;
  /** Leaves the home, so that its Redis comes and goes with the processes from now on. */
  leave(): Promise<void>;
  close(): Promise<void>;
}

/** Short waits, so that a test waits for events and not for patience. */
const impatient = {
  PLIMSOLL_POLL__MIN: '50ms',
  PLIMSOLL_SUBMIT__LEASE: '3s',
  PLIMSOLL_SWEEP__INTERVAL: '250ms',
  PLIMSOLL_SWEEP__LEASE: '3s',
};

/** Opens a world. `settings` are further environment variables of every process. */
export async function openWorld(simulated: Partial<SimulatorOptions> = {}, settings: Readonly<Record<string, string>> = {}): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-'));
  const home = join(folder, 'home');
  const truthFile = join(folder, 'truth.jsonl');
  const simulator = await startSimulator({ stateDir: join(folder, 'provider'), truthFile, batchMs: 100, tier: 'unlimited', retryAfterSeconds: 0, ...simulated });
  // The test is in the home too: its Redis does not come and go with every command.
  const held = settings['REDIS_URL'] === undefined ? await openHome({ directory: home, searchPath: process.env['PATH'] ?? '', install: true, announce: () => undefined }) : undefined;
  const processes = new Set<ChildProcess>();
  const start = (args: readonly string[], more: Readonly<Record<string, string>> = {}): Running => {
    const child = spawn(process.execPath, [...entry, ...args], {
      cwd: root,
      env: { PATH: process.env['PATH'] ?? '', HOME: folder, PLIMSOLL_HOME: home, ANTHROPIC_API_KEY: 'sk-test-canary-7781', ANTHROPIC_BASE_URL: simulator.url, ...impatient, ...settings, ...more },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    processes.add(child);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data) => (stdout += String(data)));
    child.stderr.on('data', (data) => (stderr += String(data)));
    const ended = once(child, 'close').then(([code, signal]) => {
      processes.delete(child);
      return { code: code as number | null, signal: signal as NodeJS.Signals | null, stdout, stderr };
    });
    const said = async (text: string, times = 1): Promise<void> => {
      while (stderr.split(text).length <= times) await Promise.race([once(child.stderr, 'data'), ended.then(() => Promise.reject(new Error(`it ended without saying ${text}: ${stderr}`)))]);
    };
    return { process: child, ended, said };
  };
  return {
    folder, home, simulator, truthFile, start,
    lake: join(home, 'lake'),
    run: async (args, more) => await start(args, more).ended,
    write(name, text) {
      const path = join(folder, name);
      writeFileSync(path, text);
      return path;
    },
    leave: async () => await held?.close(),
    async close() {
      for (const child of processes) child.kill('SIGKILL');
      await simulator.stop();
      await held?.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
    },
  };
}

/** A source of `count` prompts over a few topics and priorities; the seed decides lengths. */
export function corpus(count: number, seed: number, options: { readonly lengthMax?: number; readonly maxTokens?: number } = {}): string {
  const { lengthMax = 400, maxTokens = 64 } = options;
  let state = seed;
  const lines: string[] = [];
  for (let index = 0; index < count; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const text = `Document ${index} naïve 東京 ${'x'.repeat(state % lengthMax)}`;
    lines.push(JSON.stringify({
      id: `doc-${index}`,
      topic: ['invoices', 'reviews', 'mails'][index % 3],
      priority: ['high', 'normal', 'low'][(index >> 2) % 3],
      params: { model: 'claude-haiku-4-5', max_tokens: maxTokens, messages: [{ role: 'user', content: text }] },
    }));
  }
  return `${lines.join('\n')}\n`;
}
