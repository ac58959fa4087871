/** `simulate`: the simulated Claude as a server of its own. */
import { Command } from 'commander';
import { startSimulator } from '../local/simulator/simulator.ts';

/** The `simulate` verb. */
export function simulateCommand(options: { readonly defaultStateDir: () => string }): Command {
  return new Command('simulate').option('--port <n>', '', '0').option('--state-dir <dir>').option('--batch-ms <n>', '', '1500').option('--tier <t>', '', 'unlimited').option('--retry-after <n>', '', '0').action(async (given) => {
    const simulator = await startSimulator({ port: Number(given.port), stateDir: given.stateDir ?? options.defaultStateDir(), batchMs: Number(given.batchMs), tier: given.tier, retryAfterSeconds: Number(given.retryAfter) });
    process.stdout.write(`${simulator.url}\n`);
    await new Promise<void>((resolve) => process.on('SIGTERM', () => resolve()));
    await simulator.stop();
  });
}
