/** What a seed does at set moments: timers that end with the seed, and tasks that its end waits for. */

export class Agenda {
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #onError: (error: unknown) => void;
  /** Of tasks that must not overlap, the last. */
  #inTurn: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Does something later, unless the seed has ended by then. */
  later(ms: number, act: () => void): void {
    if (this.#isOver) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(timer);
  }

  async pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.later(ms, resolve));
  }

  /** Begins a task that `settled` waits for. */
  begin(act: () => Promise<void>): void {
    if (this.#isOver) return;
    const task = act().catch((error: unknown) => {
      if (!this.#isOver) this.#onError(error);
    });
    this.#underWay.add(task);
    void task.finally(() => this.#underWay.delete(task));
  }

  /** Begins one when those before it have ended: one Redis cannot lose its power and be flushed at once. */
  beginInTurn(act: () => Promise<void>): void {
    const before = this.#inTurn;
    this.begin(async () => {
      await before;
      const mine = act();
      await mine;
    });
    this.#inTurn = Promise.allSettled(this.#underWay).then(() => undefined);
  }

  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  end(): void {
    this.#isOver = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }
}
