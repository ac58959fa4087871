/** The main job as its users run it: one file, one command, one document on stdout. */
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { breaches, readRows, readTruth } from '../chaos/oracle.ts';
import { corpus, openWorld, type World } from '../chaos/world.ts';

describe('one world, many runs', () => {
  let world: World;
  beforeAll(async () => {
    world = await openWorld({ faults: { faults: [{ fault: 'errored', rate: 0.1, error_type: 'api_error', count: 1 }, { fault: 'expired', rate: 0.05, count: 1 }] } });
  });
  afterAll(async () => await world.close());

  const ids = Array.from({ length: 120 }, (_, index) => `doc-${index}`);

  it('rows that fail for a moment go round again and every id ends exactly once', async () => {
    const source = world.write('in.jsonl', corpus(120, 11));
    const end = await world.run(['run', source, '--run-key', 'first', '--json']);
    expect(end.code, end.stderr).toBe(0);
    expect(JSON.parse(end.stdout)).toMatchObject({ run_key: 'first', status: 'succeeded', counts: { accepted: 120, rejected: 0, succeeded: 120, dead_lettered: 0 } });
    expect(breaches(world.lake, 'first', ids, world.truthFile)).toEqual([]);
    const truth = readTruth(world.truthFile);
    expect([...truth.batches.values()].reduce((sum, rows) => sum + rows, 0)).toBeGreaterThan(120);
  });

  it('the same run key again submits nothing and prints the same document', async () => {
    const source = join(world.folder, 'in.jsonl');
    const before = readTruth(world.truthFile).creates;
    const again = await world.run(['run', source, '--run-key', 'first', '--json']);
    expect(again.code, again.stderr).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({ run_key: 'first', status: 'succeeded', counts: { succeeded: 120 } });
    expect(readTruth(world.truthFile).creates).toBe(before);
  });

  it('the same run key with another input is refused and names both digests', async () => {
    const other = world.write('other.jsonl', corpus(60, 12));
    const end = await world.run(['run', other, '--run-key', 'first', '--json']);
    expect(end.code).toBe(2);
    expect(end.stderr).toMatch(/run_input_differs/);
    expect(end.stderr.match(/[0-9a-f]{12,64}/g)?.length).toBeGreaterThanOrEqual(2);
  });

  it('three shapes mix, gzip is seen by its bytes, and bad lines go to the rejects file', async () => {
    const lines = [
      '{"id":"ours-1","topic":"mixed","params":{"model":"claude-haiku-4-5","max_tokens":16,"messages":[{"role":"user","content":"one"}]}}',
      '{"id":"short-1","prompt":"two","system":"be brief","topic":"mixed"}',
      '{"custom_id":"theirs-1","params":{"model":"claude-haiku-4-5","max_tokens":16,"messages":[{"role":"user","content":"three"}]}}',
      '{"id":"broken"',
    ];
    const path = join(world.folder, 'mixed.data');
    writeFileSync(path, gzipSync(`${lines.join('\n')}\n`));
    const end = await world.run(['run', path, '--run-key', 'mixed', '--json', '--model', 'claude-haiku-4-5', '--max-tokens', '16']);
    expect(end.code, end.stderr).toBe(3);
    expect(JSON.parse(end.stdout)).toMatchObject({ status: 'partial', counts: { accepted: 3, rejected: 1, succeeded: 3, dead_lettered: 0 } });
    const rows = readRows(world.lake).filter((row) => ['ours-1', 'short-1', 'theirs-1'].includes(row.id));
    expect(rows.map((row) => row.id).sort()).toEqual(['ours-1', 'short-1', 'theirs-1']);
  });

  it('the completion events come in order, without a gap, and once each', async () => {
    const tail = await world.run(['events', 'tail']);
    const events = tail.stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as { id: string; type: string; sequence: string });
    expect(events.map((event) => Number(event.sequence))).toEqual(events.map((_, index) => index + 1));
    expect(new Set(events.map((event) => event.id)).size).toBe(events.length);
    expect(events.filter((event) => event.type === 'dev.plimsoll.run.completed.v1').map((event) => event.id)).toEqual(['first:completed', 'mixed:completed']);
  });

  it('no secret and no prompt stands in what the processes wrote to the journal of intents', () => {
    const truth = readFileSync(world.truthFile, 'utf8');
    expect(truth).not.toContain('sk-test-canary-7781');
  });
});

it('without a key and without --simulate a run exits 4 with one sentence', async () => {
  const world = await openWorld();
  try {
    const source = world.write('in.jsonl', corpus(3, 1));
    const end = await world.run(['run', source, '--run-key', 'keyless'], { ANTHROPIC_API_KEY: '' });
    expect(end.code).toBe(4);
    expect(end.stderr).toMatch(/no API key is set \(ANTHROPIC_API_KEY\)/);
  } finally {
    await world.close();
  }
});

it('a worker drains on SIGTERM, and producers and workers are separate processes', async () => {
  const world = await openWorld();
  try {
    const source = world.write('in.jsonl', corpus(90, 4));
    const worker = world.start(['work']);
    await worker.said('worker.started');
    expect((await world.run(['enqueue', source, '--run-key', 'apart', '--json'])).code).toBe(0);
    await worker.said('run.completed');
    worker.process.kill('SIGTERM');
    const ended = await worker.ended;
    expect(ended.code).toBe(0);
    expect(ended.stderr).not.toContain('sk-test-canary-7781');
    expect(ended.stderr).not.toContain('Document 1 ');
    expect(breaches(world.lake, 'apart', Array.from({ length: 90 }, (_, index) => `doc-${index}`), world.truthFile)).toEqual([]);
  } finally {
    await world.close();
  }
});
