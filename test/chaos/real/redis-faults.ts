/** What happens to the Redis of a seed at a set moment. */
import type { Agenda } from './agenda.ts';
import type { Fault } from './schedule.ts';
import type { Stage } from './stage.ts';

type RedisFaultOfSchedule = Extract<Fault, { kind: 'redis' }>;

export interface RedisFaultContext {
  readonly stage: Stage;
  readonly agenda: Agenda;
  readonly onStruck: (id: string) => void;
  readonly onBytesCut: (bytes: number) => void;
  /** How often the ledger was rebuilt so far. */
  readonly rebuilds: () => number;
  readonly rebuild: () => Promise<void>;
  /** From now on nobody rebuilds, until the returned function is called. */
  readonly leaveAlone: () => () => void;
  /** The copy to go back to, where it was made before. */
  readonly copy: string | undefined;
}

/** How long before a Redis is set back its copy is made; where nobody rebuilds it, the time until somebody does says nothing about that. */
const copyAgeMs = ({ forMs, isUnattended }: RedisFaultOfSchedule): number => (isUnattended ? 500 : forMs * 1.5);

/** Puts a fault of Redis on the agenda. */
export function armRedisFault(fault: RedisFaultOfSchedule, context: RedisFaultContext): void {
  const { stage, agenda } = context;
  const { what, atMs, forMs, isUnattended } = fault;
  const isLost = what === 'roll_back' || what === 'flush';
  let { copy } = context;
  if (what === 'roll_back' && copy === undefined) agenda.later(Math.max(0, atMs - copyAgeMs(fault)), () => agenda.beginInTurn(async () => {
    copy = stage.redis.copy();
  }));
  agenda.later(atMs, () => agenda.beginInTurn(async () => {
    context.onStruck(fault.id);
    const attend = isLost && isUnattended ? context.leaveAlone() : undefined;
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
        if (copy === undefined) return attend?.();
        await stage.redis.rollBack(copy);
    }
    // Whoever restored a copy or flushed knows what has to follow; until then the processes are on their own.
    const before = context.rebuilds();
    await agenda.pause(forMs);
    attend?.();
    if (context.rebuilds() === before) await context.rebuild();
  }));
}
