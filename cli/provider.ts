/** Which provider a command talks to: the real one with its credentials, or the simulator of the home. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Home } from '../local/home.ts';
import { shareServer } from '../local/shared-server.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { BatchSearch, Claude } from '../workers/claude.ts';
import type { Installation } from './compose.ts';

/** The provider behind the claude port: the real one, or the simulator of the home when the command says so. */
export async function connectClaude(installation: Pick<Installation, 'config' | 'home' | 'id'>, options: { readonly isSimulated: boolean; readonly announce: (line: string) => void }): Promise<Claude & BatchSearch & { close(): Promise<void> }> {
  const { config, home } = installation;
  // The SDK is loaded only by those who use it: it takes a while.
  const { openClaude } = await import('../workers/anthropic.ts');
  if (options.isSimulated) {
    const baseUrl = await simulatorUrl(home, config.searchPath, options);
    // The port changes with every start; the batches belong to the home.
    return openClaude({ apiKey: 'simulated', authToken: undefined, baseUrl, version: config.anthropic.version, account: `simulator-${installation.id.slice(0, 8)}`, side: 'simulated' });
  }
  const { apiKey, authToken, baseUrl, version } = config.anthropic;
  if (!apiKey && !authToken) {
    throw new PlimsollError('credentials_missing', {
      message: 'no API key is set',
      where: 'ANTHROPIC_API_KEY',
      hint: 'Set it, or add --simulate to rehearse without an account.',
    });
  }
  return openClaude({ apiKey, authToken, baseUrl, version });
}

/**
 * The simulator of a home answers within seconds and limits nothing: it is there to rehearse, not to wait. Its seed is not the one
 * that `plimsoll simulate` begins with: ids of batches are made of it, and the ledger of a home may know batches of both.
 */
const rehearsal = ['--seed', '2', '--batch-seconds', '1.5', '--tier', 'unlimited', '--retry-after', '0'];

async function simulatorUrl(home: Home, searchPath: string, options: { readonly announce: (line: string) => void }): Promise<string> {
  const entry = process.argv[1] ?? fileURLToPath(new URL('./plimsoll.ts', import.meta.url));
  const args = [...process.execArgv, entry, 'simulate', '--port', '0', '--state', join(home.directory, 'simulator'), ...rehearsal];
  try {
    const server = await shareServer(home, { name: 'simulator', announce: options.announce, spawn: { command: process.execPath, args, env: { PATH: searchPath } } });
    return server.address;
  } catch (cause) {
    throw new PlimsollError('simulator_failed', { message: 'the simulator did not start', where: join(home.directory, 'servers'), hint: 'Read its output there.', cause });
  }
}
