/** A test that plays many seeds of the one-process tier, for the short suite and the long one. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Stage } from './box.ts';
import { allEdges } from './edges.ts';
import { privateRedis } from './private-redis.ts';

/** Plays `count` seeds from `first` on. Returns the stage, which stands while the tests of the file run. */
export function playSeeds(first: number, count: number): () => Stage {
  let server: Awaited<ReturnType<typeof privateRedis>>;
  let stage: Stage;
  beforeAll(async () => {
    server = await privateRedis();
    stage = new Stage(server.redis);
  });
  afterAll(async () => {
    stage.close();
    await server.close();
  });

  it(`${count} schedules from ${first} on end with every prompt once, one batch per archive, and the bill in the ledger`, async () => {
    const broken: string[] = [];
    const reached = new Set<string>();
    let faults = 0;
    for (let seed = first; seed < first + count; seed += 1) {
      const verdict = await stage.play(seed);
      faults += verdict.faults.length;
      for (const name of Object.keys(verdict.coverage)) reached.add(name);
      if (verdict.breaches.length > 0) broken.push(`seed ${seed}: ${verdict.breaches.join('; ')} after ${verdict.faults.join(', ')}`);
    }
    expect(broken).toEqual([]);
    // A harness that injects nothing, or reaches nothing, proves nothing.
    expect(faults).toBeGreaterThan(count);
    expect(allEdges.filter((edge) => reached.has(`edge ${edge}`)).length).toBeGreaterThan(allEdges.length * 0.8);
  }, 180_000);
  return () => stage;
}
