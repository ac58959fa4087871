import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isMisjudged, judgeLake } from '../chaos/real/judge.ts';

const secret = 'a-secret-that-nobody-may-read';
let lake: string;
beforeEach(() => void (lake = mkdtempSync(join(tmpdir(), 'plimsoll-judge-'))));
afterEach(() => rmSync(lake, { recursive: true }));

function write(name: string, text: string): void {
  const path = join(lake, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, name.endsWith('.gz') ? gzipSync(text) : text);
}

describe('the oracle of real processes (I16)', () => {
  it.each(['runs/dt=2026-11-21/a/manifest.json', 'errors/dt=2026-11-21/topic=a/a-p000.jsonl.gz', 'results/dt=2026-11-21/topic=a/a-p000.jsonl.gz', 'journal/outcomes/a/1.json'])('sees a secret in %s', (name) => {
    write('results/dt=2026-11-21/topic=b/b-p000.jsonl.gz', 'an answer');
    expect(judgeLake(lake, [secret])).toEqual([]);
    write(name, `{"said":"${secret}"}`);
    expect(judgeLake(lake, [secret])).toEqual([expect.stringContaining(name)]);
  });
});

describe('the oracle of real processes (I13)', () => {
  it('does not believe that a request is invalid whose error is that of the account', () => {
    expect(isMisjudged('invalid_request', 'billing_error')).toBe(true);
    expect(isMisjudged('invalid_request', 'invalid_request_error')).toBe(false);
    expect(isMisjudged('account_fault', 'billing_error')).toBe(false);
  });
});
