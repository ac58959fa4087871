/** A rehearsal waits as long as its simulator takes, and no longer; whoever sets a poll interval gets it. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { tmpdir } from 'node:os';
import { configOf } from '../../cli/options.ts';
import { interruptedText } from '../../cli/work-run.ts';

// A folder without a settings file, and no setting from the shell that runs the tests: `PLIMSOLL_TEST_MOTO` is for the
// tests alone, and the configuration would refuse it as a name it does not know.
beforeEach(() => {
  vi.spyOn(process, 'cwd').mockReturnValue(tmpdir());
  for (const name of Object.keys(process.env)) if (name.startsWith('PLIMSOLL_')) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

it('asks the simulator often, and the provider as seldom as is configured', () => {
  expect(configOf({ install: true, simulate: true }).poll.minMs).toBe(250);
  expect(configOf({ install: true }).poll.minMs).toBe(10_000);
});

it('says after a Ctrl-C how to go on with the simulator, and not with the provider, who would bill it', () => {
  expect(interruptedText('nightly', true)).toMatch(/plimsoll work --simulate \([^]*plimsoll cancel nightly --simulate$/);
  expect(interruptedText('nightly', false)).not.toContain('--simulate');
});

it('keeps an interval that somebody has set', () => {
  vi.stubEnv('PLIMSOLL_POLL__MIN', '5s');
  expect(configOf({ install: true, simulate: true }).poll.minMs).toBe(5_000);
});
