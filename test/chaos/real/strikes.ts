/**
 * What a process is told to suffer, and the suffering: shared by the seams of `seams.ts` and `http-seams.ts`, which call it
 * where the product meets the world.
 *
 * Invariants: K1 to K4 of `seams.ts`.
 */
import fs from 'node:fs';
import type { Plan, Strike } from './points.ts';

/** The plan of this process. */
export const plan = JSON.parse(process.env['CHAOS_PLAN'] ?? '{"strikes":[],"lake":"","scripts":{}}') as Plan;
// What the program starts itself must not strike, too.
delete process.env['CHAOS_PLAN'];
delete process.env['NODE_OPTIONS'];
const passed = new Map<string, number>();
const waiting = new Set(plan.strikes);
/** Points at which something may strike. */
export const wanted = new Set(plan.strikes.map((strike) => strike.point));
let fullUntil = 0;

/** Whether the disk has no room at the moment. */
export const isFull = (): boolean => performance.now() < fullUntil;

/** The strike that is due at a point, if one is; it is then struck (K3). */
export function dueAt(point: string): Strike | undefined {
  if (!wanted.has(point)) return undefined;
  const times = (passed.get(point) ?? 0) + 1;
  passed.set(point, times);
  const strike = [...waiting].find((each) => each.point === point && each.nth <= times);
  if (strike) waiting.delete(strike);
  return strike;
}

const pause = async (ms: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, ms));

/** Does what a strike says. Returns the error that the effect ends with, if any. */
export async function suffer(strike: Strike, subject: string, fault: () => Error): Promise<Error | undefined> {
  fs.writeSync(3, `${JSON.stringify({ id: strike.id, subject })}\n`);
  switch (strike.kind) {
    case 'kill':
      if (strike.ms > 0) setTimeout(() => process.kill(process.pid, 'SIGKILL'), strike.ms);
      else process.kill(process.pid, 'SIGKILL');
      // Nothing more of this call may happen; what others do until then is theirs.
      if (strike.ms === 0) await new Promise(() => undefined);
      return undefined;
    case 'stop':
      process.kill(process.pid, 'SIGSTOP');
      return undefined;
    case 'term':
      process.kill(process.pid, 'SIGTERM');
      return undefined;
    case 'delay':
      await pause(strike.ms);
      return undefined;
    case 'full':
      fullUntil = performance.now() + strike.ms;
      return undefined;
    case 'clock':
      shiftClock(strike.ms);
      return undefined;
    case 'fail':
      return fault();
  }
}

/** Puts the effect between its two points. */
export async function through<Result>(name: string, subject: string, effect: () => Promise<Result>, fault: () => Error): Promise<Result> {
  const before = dueAt(`${name}:before`);
  const refused = before && (await suffer(before, subject, fault));
  if (refused) throw refused;
  const result = await effect();
  const after = dueAt(`${name}:after`);
  const lost = after && (await suffer(after, subject, fault));
  if (lost) throw lost;
  return result;
}

/** Whether anything may strike around an effect. */
export const isStruck = (name: string): boolean => wanted.has(`${name}:before`) || wanted.has(`${name}:after`);

/** An error as the operating system gives it. */
export function errnoError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code, syscall: 'chaos' });
}

/** The wall clock jumps; the monotonic one does not, as on a machine whose time is set. */
function shiftClock(ms: number): void {
  const now = Date.now.bind(Date);
  const RealDate = Date;
  class ShiftedDate extends RealDate {
    constructor(...parts: readonly unknown[]) {
      super(...((parts.length === 0 ? [now() + ms] : parts) as [number]));
    }
    static override now(): number {
      return now() + ms;
    }
  }
  globalThis.Date = ShiftedDate as DateConstructor;
}
