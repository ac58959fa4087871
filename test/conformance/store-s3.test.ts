/** The store port on S3: the suite of every store, and what only a bucket can get wrong, on a server of others. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { proofKey } from '../../segments/store/s3-proof.ts';
import { openS3Store } from '../../segments/store/s3.ts';
import { isMotoThere, startMoto, type Moto } from '../moto.ts';
import { storeSuite } from './store-suite.ts';

describe.skipIf(!isMotoThere)('the store port on S3', () => {
  let moto: Moto;
  beforeAll(async () => void (moto = await startMoto()));
  afterAll(async () => await moto.stop());

  for (const prefix of ['/team/plimsoll']) {
    storeSuite(prefix === '' ? 'a bucket' : 'a prefix of a bucket', async () => {
      const bucket = await moto.bucket();
      const scratch = await mkdtemp(join(tmpdir(), 'plimsoll-scratch-'));
      const root = prefix === '' ? '' : `${prefix.slice(1)}/`;
      return {
        open: async () => await openS3Store({ uri: `s3://${bucket}${prefix}`, settings: moto.settings(), scratchDirectory: scratch, nowMs: Date.now() }),
        visible: async () => (await moto.keys(bucket)).filter((key) => key !== root + proofKey).map((key) => key.slice(root.length)),
        close: async () => await rm(scratch, { recursive: true, force: true }),
      };
    });
  }
});
