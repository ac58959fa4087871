/** The S3 quickstart of the README, followed literally against the independent server. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { isMotoThere, motoExecutable } from '../moto.ts';

const root = resolve(import.meta.dirname, '../..');

it.skipIf(!isMotoThere)('the S3 quickstart of the README works as it stands', async () => {
  const block = /```bash\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1] ?? '';
  expect(block).toContain('s3://');
  const home = mkdtempSync(join(tmpdir(), 'plimsoll-readme-s3-'));
  // Another port and another home than a reader's, so that this test may run beside him.
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  const script = `set -e\ntrap 'kill $(jobs -p)' EXIT\n${block.replaceAll('5600', String(port)).replace('PLIMSOLL_HOME=.plimsoll/s3', `PLIMSOLL_HOME=${home}/home`)}`;
  try {
    const env = { PATH: `${dirname(motoExecutable ?? '')}${delimiter}${process.env['PATH'] ?? ''}`, HOME: home, PLIMSOLL_POLL__MIN: '100ms', CI: '1' };
    const { stdout } = await promisify(execFile)('bash', ['-c', script], { cwd: root, env });
    const document = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { status: string; manifest: string; counts: { succeeded: number } };
    expect(document).toMatchObject({ status: 'succeeded', manifest: expect.stringMatching(/^s3:\/\/my-bucket\/plimsoll\/runs\//) as string });
    expect(document.counts.succeeded).toBe(readFileSync(join(root, 'examples/reviews.jsonl'), 'utf8').trimEnd().split('\n').length);
  } finally {
    rmSync(home, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }
}, 90_000);
