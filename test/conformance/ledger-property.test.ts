import { it } from 'vitest';
import { playLedger } from '../ledger-property.ts';

it('reserved + spent never passes a limit, and every account equals the sum of its chunks', { timeout: 120_000 }, async () => {
  await playLedger(150, 20_261_121);
});
