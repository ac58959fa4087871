/**
 * What starts the processes of a seed and starts them again, as a supervisor would: producers until their run is
 * acknowledged, workers for ever, commands once. A process that has lost its ledger asks for a rebuild, which is done alone;
 * while nobody attends to it, it is started again like any other.
 *
 * Invariants
 *   U1  Processes begin only while the gate is open: a rebuild needs to be alone.
 *   U2  After `end` nothing begins any more.
 */
import type { Exit, Player, Players } from './players.ts';
import type { Slot } from './schedule.ts';

export interface SupervisorSettings {
  readonly players: Players;
  /** Path of the source of each run. */
  readonly sources: ReadonlyMap<string, { readonly path: string }>;
  readonly onBreach: (breach: string) => void;
}

const producerTries = 40;
const rebuildTries = 6;

export class Supervisor {
  readonly #settings: SupervisorSettings;
  readonly #bySlot = new Map<Slot, Player>();
  readonly acknowledged = new Set<string>();
  /** Runs that a person has canceled before they were acknowledged. */
  readonly refused = new Set<string>();
  #gate: Promise<void> = Promise.resolve();
  #isRebuilding = false;
  #rebuilds = 0;
  #unattended = 0;
  #refusals = 0;
  #isOver = false;

  constructor(settings: SupervisorSettings) {
    this.#settings = settings;
  }

  /** How often the ledger was rebuilt. */
  get rebuilds(): number {
    return this.#rebuilds;
  }

  /** How often a process ended because its ledger was behind while nobody attended to it. */
  get refusals(): number {
    return this.#refusals;
  }

  /** Lets nobody rebuild until the returned function is called. */
  leaveAlone(): () => void {
    this.#unattended += 1;
    return () => {
      this.#unattended -= 1;
    };
  }

  /** Resolves when no rebuild is under way (U1). */
  get gate(): Promise<void> {
    return this.#gate;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Runs one command to its end. */
  async command(slot: Slot, args: readonly string[]): Promise<Exit> {
    await this.#gate;
    const exit = await this.#start(slot, args).ended;
    if (this.#unattended > 0 && isBehind(exit)) this.#refusals += 1;
    return exit;
  }

  kill(slot: Slot): void {
    this.#bySlot.get(slot)?.kill();
  }

  /** A producer until its run is acknowledged, or refused because it was canceled. */
  async produce(run: string, slot: Slot): Promise<void> {
    for (let tries = 0; tries < producerTries && !this.#isOver; tries += 1) {
      const exit = await this.command(slot, this.enqueueArguments(run));
      if (exit.code === 0 || exit.code === 3) return void this.acknowledged.add(run);
      if (/\[run_canceled\]/.test(exit.stderr)) return void this.refused.add(run);
      if (/run_input_differs|run_config_differs/.test(exit.stderr)) this.#settings.onBreach(`I1: the producer was refused: ${exit.stderr.slice(0, 300)}`);
      await this.#mind(exit);
    }
  }

  enqueueArguments(run: string): readonly string[] {
    return ['enqueue', this.#settings.sources.get(run)?.path ?? '', '--run-key', run, '--quiet'];
  }

  /** A worker, again and again. */
  async work(slot: Slot): Promise<void> {
    while (!this.#isOver) await this.#mind(await this.command(slot, ['work']));
  }

  /** Stops everything, rebuilds, and lets everything begin again. Who comes while one is under way waits for it. */
  async rebuild(): Promise<void> {
    const before = this.#gate;
    if (this.#isRebuilding) return await before;
    this.#isRebuilding = true;
    this.#gate = (async () => {
      await before;
      await this.#settings.players.stopAll(2_500);
      for (let tries = 0; tries < rebuildTries && !this.#isOver; tries += 1) {
        const exit = await this.#start('recover', ['recover', '--json']).ended;
        if (exit.code === 0) {
          this.#rebuilds += 1;
          return;
        }
        if (tries === rebuildTries - 1) this.#settings.onBreach(`I14: the ledger cannot be rebuilt: ${exit.stderr.slice(-300)}`);
      }
    })().finally(() => {
      this.#isRebuilding = false;
    });
    await this.#gate;
  }

  /** From here on nothing begins (U2). */
  end(): void {
    this.#isOver = true;
  }

  #start(slot: Slot, args: readonly string[]): Player {
    const player = this.#settings.players.start(slot, args);
    this.#bySlot.set(slot, player);
    return player;
  }

  /** What a supervisor does about an end. */
  async #mind(exit: Exit): Promise<void> {
    if (this.#isOver) return;
    if (isBehind(exit) && this.#unattended === 0) return await this.rebuild();
    // A Redis that is gone ends processes at once; nobody starts them again without a pause.
    if (exit.code !== null && exit.code > 0) await new Promise<void>((resolve) => setTimeout(resolve, 200));
  }
}

/** Whether a process ended because its ledger has forgotten what the lake knows. */
function isBehind({ stderr }: Exit): boolean {
  return /ledger_behind/.test(stderr);
}
