import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { rig } from './rig.ts';

/** The provider's Python SDK against the simulator: `sdk_suite.py` prints one line per fact. */

const isInstalled = spawnSync('python3', ['-c', 'import anthropic']).status === 0;
if (!isInstalled) {
  process.stderr.write('Skipped: the Python SDK suite, because python3 cannot import anthropic (pip install anthropic).\n');
}

const FACTS = [
  'create', 'retrieve', 'list pages by itself', 'results', 'cancel', 'delete', 'not found', 'bad request', 'authentication', 'rate limit', 'overloaded', 'message', 'streamed message', 'count_tokens', 'models',
];

describe.skipIf(!isInstalled)('the Python SDK', () => {
  it('passes every call', async () => {
    const on = await rig({ batchMs: 0, apiKeys: ['test-key'] });
    const child = spawn('python3', [join(process.cwd(), 'test/conformance/simulator/sdk_suite.py'), on.simulator.url]);
    let lines = '';
    child.stdout.on('data', (chunk) => (lines += String(chunk)));
    child.stderr.on('data', (chunk) => (lines += String(chunk)));
    const [code] = await once(child, 'close');
    expect([code, lines.trim().split('\n')]).toEqual([0, FACTS.map((fact) => `ok ${fact}`)]);
  });
});
