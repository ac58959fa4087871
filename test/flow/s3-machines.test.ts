/** Two worker machines share a run of 100,000 prompts over Redis and a bucket, and one of them is killed: about a minute. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { playTwoMachines } from '../chaos/two-machines.ts';
import { isMotoThere, startMoto, type Moto } from '../moto.ts';

const prompts = 100_000;

describe.skipIf(!isMotoThere)('two machines', () => {
  let moto: Moto;
  beforeAll(async () => void (moto = await startMoto()));
  afterAll(async () => await moto.stop());

  it('end a run exactly when one of them is killed', async () => {
    const address = inject('redisAddress');
    const end = await playTwoMachines({ prompts, redisUrl: address.kind === 'socket' ? address.path : address.url, tag: `t-${randomUUID().slice(0, 8)}`, moto, archiveBytesMax: 4_000_000 });
    expect(end, end.stderr).toMatchObject({ ids: prompts, idsDistinct: prompts, billedTwice: 0, reserved: 0 });
    // A kill between the last byte and the reply leaves one archive in doubt, for the adopter to resolve: never billed twice.
    expect([0, 6]).toContain(end.code);
    expect(end.exportedBySurvivor).toBeGreaterThan(0);
  }, 900_000);
});
