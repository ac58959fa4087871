import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../config/config.ts';
import { readEnvironment } from '../../config/env.ts';
import { clientLimits, ownLimits, providerLimits } from '../../config/limits.ts';
import { archiveId, bodyBytes, customId } from '../../segments/pack.ts';

const defaults = loadConfig({ env: readEnvironment({}), cwd: '/job', readFile: () => undefined });

describe('provider limits', () => {
  test('a batch holds at least one request of the largest size', () => {
    expect(bodyBytes(1, providerLimits.requestBytesMax)).toBeLessThan(providerLimits.batchBytesMax);
  });

  test('a batch is never larger than under the smaller reading of 256 MB', () => {
    expect(providerLimits.batchBytesMax).toBe(256 * 10 ** 6);
    expect(providerLimits.batchBytesMax).toBeLessThan(256 * 2 ** 20);
  });

  test('a full batch leaves bytes for the framing of every request', () => {
    expect(bodyBytes(providerLimits.batchRequestsMax, 0)).toBeLessThan(providerLimits.batchBytesMax);
  });

  test('our custom_id is short enough', () => {
    const id = customId(archiveId('7f3a91c2ab', 999_999), providerLimits.batchRequestsMax - 1, '0'.repeat(64));
    expect(id.length).toBeLessThanOrEqual(providerLimits.customIdLengthMax);
    expect(id).toMatch(/^[A-Za-z0-9_-]+$/);
  });

  test('results are kept longer than a batch lives', () => {
    expect(providerLimits.resultsKeptMs).toBeGreaterThan(providerLimits.batchLifetimeMs);
  });

  test('the queue of every tier takes a whole batch, and higher tiers take more', () => {
    const { start, build, scale } = providerLimits.queueRowsByTier;
    expect([providerLimits.batchRequestsMax, start, build, scale]).toEqual([...[providerLimits.batchRequestsMax, start, build, scale]].sort((a, b) => a - b));
    const calls = providerLimits.callsPerMinuteByTier;
    expect(calls.start < calls.build && calls.build < calls.scale).toBe(true);
  });
});

describe('defaults and limits', () => {
  test('the default archive is the largest that the provider takes', () => {
    expect(defaults.archive).toMatchObject({ bytesMax: providerLimits.batchBytesMax, rowsMax: providerLimits.batchRequestsMax });
  });

  test('the longest default line is the largest request', () => {
    expect(defaults.input.lineBytesMax).toBe(providerLimits.requestBytesMax);
  });

  test('the queue is thought to be that of the lowest tier', () => {
    expect(defaults.submit.queueRows).toBe(providerLimits.queueRowsByTier.start);
  });

  test('the last context class holds the widest context and the longest output', () => {
    expect(defaults.contexts.at(-1)?.tokensMax).toBe(providerLimits.contextTokensMax + providerLimits.outputTokensMax);
    expect(defaults.contexts.length).toBeLessThanOrEqual(ownLimits.contextClassesMax);
  });

  test('the first poll comes no sooner than the provider asks for', () => {
    expect(defaults.poll.minMs).toBeGreaterThanOrEqual(providerLimits.pollHintMs);
    expect(defaults.poll.maxMs).toBeLessThan(providerLimits.batchLifetimeMs);
  });

  test('a reply is waited for as long as the client library does, and that is longer than its transport would', () => {
    expect(defaults.submit.timeoutMs).toBe(clientLimits.replyTimeoutMs);
    expect(clientLimits.transportHeadersMs).toBeLessThan(clientLimits.replyTimeoutMs);
  });

  test('a lost submission has landed or failed before it is given up', () => {
    expect(defaults.submit.landingWaitMs).toBeGreaterThan(defaults.submit.timeoutMs);
  });

  test('the lane is kept at least as long as the shortest lease, and swept in less', () => {
    expect(defaults.submit.leaseMs).toBeGreaterThanOrEqual(ownLimits.laneLeaseMsMin);
    expect(defaults.sweep.intervalMs).toBeLessThan(defaults.submit.leaseMs);
  });

  test('no wait of a setting is longer than a batch lives', () => {
    expect(ownLimits.waitMsMax).toBeLessThanOrEqual(providerLimits.batchLifetimeMs);
    expect(ownLimits.drainMs).toBeLessThan(ownLimits.waitMsMax);
  });

  test('a secret that is too long is noticed before a settings file would be', () => {
    expect(ownLimits.secretBytesMax).toBeLessThan(ownLimits.settingsFileBytesMax);
  });

  test('a chunk has at most the rows of a batch', () => {
    expect(ownLimits.chunkRowsMax).toBeLessThanOrEqual(providerLimits.batchRequestsMax);
  });
});
