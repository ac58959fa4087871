/** The lost reply in each of its company, doubts that are given up, a Redis that nobody rebuilds, a lake in a bucket, and seeds that were broken once, with real processes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildProduct, type Product } from './product.ts';
import { play } from './trial.ts';
import { isMotoThere, startMoto, type Moto } from '../../moto.ts';
import { forgone, inBucket, onceBroken, repliesLost, setBack } from './trials.ts';

let product: Product;
beforeAll(async () => {
  product = await buildProduct();
});
afterAll(() => product.remove());

describe('a batch that is accepted and whose reply is lost is adopted and never posted again', () => {
  it.each(Object.entries(repliesLost))('%s', { timeout: 120_000 }, async (_, schedule) => {
    const verdict = await play(schedule, product);
    expect(verdict.breaches).toEqual([]);
    expect(verdict.struck).toHaveLength(schedule.faults.length);
    expect(verdict.creates).toBe(verdict.batches);
    expect(verdict.edges['intent: in_doubt -> adopted']).toBeGreaterThan(0);
  });
});

describe('a create without a reply is given up', () => {
  it.each(Object.entries(forgone))('%s', { timeout: 120_000 }, async (_, schedule) => {
    const verdict = await play(schedule, product);
    expect(verdict.breaches).toEqual([]);
    expect(verdict.struck).toHaveLength(schedule.faults.length);
    expect(verdict.deadLetters['submission_in_doubt']).toBeGreaterThan(0);
    expect((verdict.edges['intent: in_doubt -> forgone'] ?? 0) + (verdict.edges['intent: held -> forgone'] ?? 0)).toBe(1);
  });
});

describe.skipIf(!isMotoThere)('every prompt is there once, in a bucket', () => {
  let buckets: Moto;
  beforeAll(async () => {
    buckets = await startMoto();
  });
  afterAll(async () => await buckets.stop());

  it.each(Object.entries(inBucket))('%s', { timeout: 120_000 }, async (_, schedule) => {
    const verdict = await play(schedule, { ...product, buckets });
    expect(verdict.breaches).toEqual([]);
    expect(verdict.struck).toHaveLength(schedule.faults.length);
    expect(verdict.rows).toBe(schedule.prompts);
  });
});

describe('nothing is paid twice on a Redis that is set back, however long nobody rebuilds it', () => {
  it.each(Object.entries(setBack))('%s', { timeout: 120_000 }, async (_, schedule) => {
    const verdict = await play(schedule, product);
    expect(verdict.breaches).toEqual([]);
    expect(verdict.struck).toHaveLength(schedule.faults.length);
    // A create may break off before its last byte, but somebody met that Redis and ended of it before it was rebuilt.
    expect(verdict.refusals).toBeGreaterThan(0);
    expect(verdict.rebuilds).toBeGreaterThan(0);
  });
});

describe('what was broken once', () => {
  it.each(Object.entries(onceBroken))('%s', { timeout: 120_000 }, async (_, schedule) => {
    const verdict = await play(schedule, product);
    expect(verdict.breaches).toEqual([]);
    expect(verdict.struck).toHaveLength(schedule.faults.length);
  });
});
