import { it } from 'vitest';
import { playLedger } from '../ledger-property.ts';

it('reserved + spent never passes a limit in ten thousand histories, with crashes, resends and turning windows', { timeout: 900_000 }, async () => {
  await playLedger(10_000, 7);
});
