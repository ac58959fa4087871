/**
 * Counts the moves that the real Lua makes: every script that has the prelude's `change` is loaded with one more line in it, which
 * notes the move of the table that it has just made. Everything else of the scripts is as the product has it.
 */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { lifecycle, type Machine } from '../../../segments/lifecycle.ts';

const moveLine = "redis.call('HSET', key, 'state', to, 'reason', reason or '')";
const edgesKey = 'box:edges';

/** Every move of the tables, as `noun from event`. */
export const allEdges: readonly string[] = Object.entries(lifecycle).flatMap(([noun, machine]: [string, Machine]) => machine.moves.map((each) => `${noun} ${each.from} ${each.event}`));

/** Makes a connection count moves. The edges of the last schedule are read with {@link readEdges}. */
export function countEdges(redis: Redis): void {
  const loaded = new Map<string, string>();
  const known = redis.evalsha.bind(redis) as (sha: string, keys: number, prefix: string, argument: string) => Promise<unknown>;
  const load = async (lua: string): Promise<string> => {
    // A script that makes no move has no `change`.
    const isMoving = lua.includes('local function change(');
    if (isMoving && lua.split(moveLine).length !== 2) throw new RangeError('the prelude makes its moves elsewhere: the line that is counted has to be found anew');
    const counting = lua.replace(moveLine, `redis.call('HINCRBY', P .. '${edgesKey}', noun .. ' ' .. get(key, 'state') .. ' ' .. event, 1)\n  ${moveLine}`);
    return (await redis.script('LOAD', counting)) as string;
  };
  Object.assign(redis, {
    evalsha: async (sha: string, keys: number, prefix: string, argument: string) => {
      const counting = loaded.get(sha);
      if (counting !== undefined) return await known(counting, keys, prefix, argument);
      throw Object.assign(new Error('NOSCRIPT it is loaded with its counter next'), { name: 'ReplyError' });
    },
    eval: async (lua: string, keys: number, prefix: string, argument: string) => {
      const counting = await load(lua);
      loaded.set(createHash('sha1').update(lua).digest('hex'), counting);
      return await known(counting, keys, prefix, argument);
    },
  });
}

/** The moves that were made since the server was flushed. */
export async function readEdges(redis: Redis, prefix: string): Promise<Readonly<Record<string, string>>> {
  return await redis.hgetall(`${prefix}${edgesKey}`);
}
