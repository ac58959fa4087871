/** What happens to the Redis of a seed at a set moment. */
import type { Agenda } from './agenda.ts';
import type { Fault } from './schedule.ts';
import type { Stage } from './stage.ts';

export interface RedisFaultContext {
  readonly stage: Stage;
  readonly agenda: Agenda;
  readonly onStruck: (id: string) => void;
  readonly onBytesCut: (bytes: number) => void;
  /** How often the ledger was rebuilt so far. */
  readonly rebuilds: () => number;
  readonly rebuild: () => Promise<void>;
}

/** Puts a fault of Redis on the agenda. */
export function armRedisFault(fault: Extract<Fault, { kind: 'redis' }>, context: RedisFaultContext): void {
  const { stage, agenda } = context;
  const { what, atMs, forMs } = fault;
  let copy: string | undefined;
  if (what === 'roll_back') agenda.later(Math.max(0, atMs - forMs * 1.5), () => agenda.beginInTurn(async () => {
    copy = stage.redis.copy();
  }));
  agenda.later(atMs, () => agenda.beginInTurn(async () => {
    context.onStruck(fault.id);
    switch (what) {
      case 'restart':
        return await stage.redis.restart();
      case 'power_cut':
        return context.onBytesCut(await stage.cutPower());
      case 'full':
        await stage.redis.fill(true);
        await agenda.pause(forMs);
        return await stage.redis.fill(false);
      case 'flush':
        await stage.redis.flushAll();
        break;
      case 'roll_back':
        if (copy === undefined) return;
        await stage.redis.rollBack(copy);
    }
    // Whoever restored a copy or flushed knows what has to follow; until then the processes are on their own.
    const before = context.rebuilds();
    await agenda.pause(forMs);
    if (context.rebuilds() === before) await context.rebuild();
  }));
}
