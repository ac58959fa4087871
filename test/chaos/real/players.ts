/**
 * The processes of the product in one seed: started with what they are to suffer, watched, and started again as a
 * supervisor would. A process that has lost its ledger asks for a rebuild, which is played here, too.
 *
 * Invariants
 *   J1  A strike is given to the processes of its slot, and after it has struck to none that begins.
 *   J2  No process outlives the seed.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { tied } from './children.ts';
import type { Plan, Strike, Struck } from './points.ts';
import type { Product } from './product.ts';
import type { Slot } from './schedule.ts';

export interface PlayersSettings {
  readonly product: Product;
  readonly folder: string;
  readonly lake: string;
  /** As in `Plan`. */
  readonly bucket?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly strikes: readonly { readonly slot: Slot; readonly strike: Strike }[];
  readonly onStruck: (struck: Struck, child: ChildProcess) => void;
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Whether we ended it, or a strike did. */
  readonly isOurs: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Player {
  readonly child: ChildProcess;
  readonly ended: Promise<Exit>;
  kill(): void;
  /** Asks it to end. A process that is only just beginning is ended by that as by a kill. */
  ask(): void;
}

export class Players {
  readonly #settings: PlayersSettings;
  readonly #living = new Set<Player>();
  readonly #struck = new Set<string>();
  /** Everything that any process said, for the oracle. */
  readonly said: string[] = [];
  /** Ends that nobody caused, with the last words. */
  readonly deaths: string[] = [];
  isCalm = false;
  /** Resolves when the first worker works. */
  readonly working: Promise<void>;
  #onWorking: () => void = () => undefined;

  constructor(settings: PlayersSettings) {
    this.#settings = settings;
    this.working = new Promise((resolve) => (this.#onWorking = resolve));
  }

  /** Starts `plimsoll` in a slot. */
  start(slot: Slot, args: readonly string[]): Player {
    const { product, folder, lake, bucket, env, strikes, onStruck } = this.#settings;
    const own = this.isCalm ? [] : strikes.filter((each) => (each.slot === slot || (each.slot === 'worker' && slot.startsWith('worker-'))) && !this.#struck.has(each.strike.id)).map((each) => each.strike);
    const plan: Plan = { strikes: own, lake, bucket, scripts: product.scripts };
    const isPlain = own.length === 0;
    const child = tied(spawn(process.execPath, [product.entry, ...args], {
      cwd: folder,
      // Starting a process is most of a seed's processor time, and a sixth of that is collecting the garbage of loading.
      env: { ...env, NODE_OPTIONS: `--max-semi-space-size=32${isPlain ? '' : ` --import=${product.seams}`}`, ...(isPlain ? {} : { CHAOS_PLAN: JSON.stringify(plan) }) },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    }));
    let [stdout, stderr, isOurs] = ['', '', false];
    child.stdout?.on('data', (data) => (stdout += String(data)));
    child.stderr?.on('data', (data) => {
      stderr += String(data);
      if (stderr.includes('"worker.started"')) this.#onWorking();
    });
    const told = child.stdio[3] as Readable;
    createInterface({ input: told }).on('line', (line) => {
      const struck = JSON.parse(line) as Struck;
      this.#struck.add(struck.id);
      const kind = own.find((strike) => strike.id === struck.id)?.kind;
      if (kind === 'kill' || kind === 'term') isOurs = true;
      onStruck(struck, child);
    });
    const ended = once(child, 'close').then(([code, signal]): Exit => {
      this.#living.delete(player);
      const exit = { code: code as number | null, signal: signal as NodeJS.Signals | null, isOurs, stdout, stderr };
      this.said.push(stdout, stderr);
      // A program that ends by an error of ours says so in its own words; anything else is a crash.
      if ((!isOurs && signal !== null) || /\nNode\.js v\d+\.\d+\.\d+\n*$/.test(stderr)) this.deaths.push(`${args[0] ?? ''}: ${signal ?? ''} ${stderr.slice(-1_200)}`);
      return exit;
    });
    const player: Player = {
      child,
      ended,
      kill: () => {
        isOurs = true;
        child.kill('SIGKILL');
      },
      ask: () => {
        isOurs = true;
        child.kill('SIGTERM');
      },
    };
    this.#living.add(player);
    return player;
  }

  /** Stops all: politely, and after a while not. */
  async stopAll(politeMs: number): Promise<void> {
    await Promise.all([...this.#living].map(async (player) => {
      player.child.kill('SIGCONT');
      if (politeMs > 0) player.ask();
      const timer = setTimeout(() => player.kill(), politeMs);
      await player.ended;
      clearTimeout(timer);
    }));
  }
}
