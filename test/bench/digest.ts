import { createHash } from 'node:crypto';

/** sha256 of a stream, hex. */
export async function digestOf(blocks: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const block of blocks) hash.update(block);
  return hash.digest('hex');
}
