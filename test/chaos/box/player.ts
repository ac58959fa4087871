/** A process that plays blocks of seeds on a private Redis of its own, one after the other, as its parent asks for them. */
import { Stage } from './box.ts';
import type { Played } from './campaign.ts';
import { privateRedis } from './private-redis.ts';

/** Plays one block. */
export async function playBlock(stage: Stage, first: number, count: number): Promise<Played> {
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  const coverage: Record<string, number> = {};
  const broken: { seed: number; breaches: readonly string[]; faults: readonly string[] }[] = [];
  let [turns, doubts] = [0, 0];
  for (let seed = first; seed < first + count; seed += 1) {
    const verdict = await stage.play(seed);
    turns += verdict.turns;
    if (verdict.isInDoubt) doubts += 1;
    for (const [name, times] of Object.entries(verdict.coverage)) coverage[name] = (coverage[name] ?? 0) + times;
    if (verdict.breaches.length > 0) broken.push({ seed, breaches: verdict.breaches, faults: verdict.faults });
  }
  const cpu = process.cpuUsage(cpuBefore);
  return { v: 1, first, count, turns, doubts, broken, coverage, wallMs: Math.round(performance.now() - startedAt), cpuMs: Math.round((cpu.user + cpu.system) / 1000) };
}

if (process.send) {
  const server = await privateRedis();
  const stage = new Stage(server.redis);
  const end = async (): Promise<never> => {
    stage.close();
    await server.close();
    process.exit(0);
  };
  process.on('message', (asked: { readonly first: number; readonly count: number } | 'end') => {
    if (asked === 'end') return void end();
    void playBlock(stage, asked.first, asked.count).then((block) => process.send?.(block), async (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      stage.close();
      await server.close();
      process.exit(1);
    });
  });
  process.on('disconnect', () => void end());
  // A terminal's Ctrl-C reaches children too: the parent ends them.
  process.on('SIGINT', () => undefined);
  process.send('ready');
}
