/** A bucket of the server at hand, as a lake. */
import { openS3Store } from '../../../segments/store/s3.ts';
import type { Store } from '../../../segments/store/store.ts';

/** Where the lake begins in the bucket. */
export const bucketPrefix = 'lake';

/** Opens it; `scratchDirectory` is a local folder. */
export async function openBucket(endpoint: string, bucket: string, scratchDirectory: string): Promise<Store> {
  const settings = { region: undefined, endpoint, isPathStyle: true, isChecksumMinimal: false, kmsKeyId: undefined, bucketOwner: undefined, timeoutMs: 60_000 };
  return await openS3Store({ uri: `s3://${bucket}/${bucketPrefix}`, settings, scratchDirectory, nowMs: Date.now() });
}
