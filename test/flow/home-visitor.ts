/**
 * A process that opens a home, for `home.test.ts`: the promises of a home are between processes, and about killed ones.
 *
 * Its argument is JSON, `VisitorOrder`. It prints one JSON line per event, `VisitorEvent`, opens the home at once or, if
 * it was told to wait at the door, when it reads a line, and closes the home when its stdin ends.
 */
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { openHome, RedisUnavailable, type RedisAddress } from '../../local/home.ts';
import { shareServer } from '../../local/shared-server.ts';

const orderSchema = z.object({
  directory: z.string(),
  searchPath: z.string(),
  waitsAtDoor: z.boolean().optional(),
  /** A program to share as an HTTP server. */
  share: z.object({ command: z.string(), args: z.array(z.string()) }).optional(),
});

export type VisitorOrder = z.infer<typeof orderSchema>;

export type VisitorEvent =
  | { readonly kind: 'at_door' }
  | { readonly kind: 'opened'; readonly redis: RedisAddress; readonly shared: string | null }
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'closed' };

const report = (event: VisitorEvent): void => void process.stdout.write(`${JSON.stringify(event)}\n`);
const order = orderSchema.parse(JSON.parse(process.argv[2] ?? ''));
const signals = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

try {
  if (order.waitsAtDoor === true) {
    report({ kind: 'at_door' });
    await signals.next();
  }
  const announce = (): void => undefined;
  const home = await openHome({
    directory: order.directory,
    searchPath: order.searchPath,
    install: false,
    announce,
  });
  let shared: string | null = null;
  if (order.share !== undefined) {
    shared = (await shareServer(home, { name: 'greeter', spawn: { ...order.share, env: {} }, announce })).address;
  }
  report({ kind: 'opened', redis: home.redis, shared });
  await signals.next();
  await home.close();
  report({ kind: 'closed' });
} catch (error) {
  if (!(error instanceof RedisUnavailable)) throw error;
  report({ kind: 'refused', code: error.code });
}
