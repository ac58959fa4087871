/** What a verb that reads a source was told: the source itself, and the settings by which it is judged and cut. */
import type { Config } from '../config/config.ts';
import type { PriceTable } from '../config/models.ts';
import { parseDuration } from '../config/quantity.ts';
import { configuredTerms } from '../config/tier.ts';
import { produce, type ProducerSettings, type ProduceRequest, type Production, type SourceLocation } from '../producers/producer.ts';
import { PlimsollError } from '../segments/errors.ts';
import type { RunKey } from '../segments/segment.ts';
import type { Side } from '../segments/side.ts';
import type { Installation } from './compose.ts';
import { deferredText } from './deferred.ts';
import { enterIngest } from './guard.ts';
import type { SourceOptions } from './options.ts';
import { startProgress } from './progress.ts';
import { tell } from './terminal.ts';
import { tierBudgetsOf } from './tiers.ts';

/** So many rejected lines are shown as they are met; the rejects file has all of them. */
const rejectsTold = 10;

/** The source that an argument names; `-` is standard input, `s3://` an object, a prefix or a glob of a bucket. */
export function sourceOf(file: string, config: Config): SourceLocation {
  if (file.startsWith('s3://')) {
    // The SDK is loaded only by those who use it: it takes a while.
    return { kind: 'objects', uri: file, objects: async function* () { yield* (await import('../producers/s3.ts')).namedObjects(file, config.s3); } };
  }
  return file === '-' ? { kind: 'stdin', stream: process.stdin } : { kind: 'file', path: file };
}

/** The producer's settings from configuration and flags. @throws PlimsollError `usage` */
export function producerSettings(
  { config, prices, scratchDirectory }: { readonly config: Config; readonly prices: PriceTable; readonly scratchDirectory: string },
  options: Partial<SourceOptions>,
): ProducerSettings {
  return {
    contextClasses: config.contexts,
    chunkBytesMax: config.chunk.bytesMax,
    chunkRowsMax: config.chunk.rowsMax,
    openBytesMax: config.chunk.openBytesMax,
    lineBytesMax: config.input.lineBytesMax,
    expansionMax: config.input.expansionMax,
    sectionBytes: config.input.sectionBytes,
    anthropicVersion: config.anthropic.version,
    price: prices,
    defaults: config.defaults,
    cache: config.cache.policy === 'auto' ? { topics: config.cache.topics, after: config.cache.after, isPriming: config.cache.primerWaitMs > 0 } : undefined,
    terms: configuredTerms(config),
    tierBudgets: Object.values(config.tiers).some(({ budget }) => budget) ? (clients, assigned) => tierBudgetsOf(config, clients, assigned) : undefined,
    line: { queueRowsMax: config.submit.queueRows, patienceMs: config.submit.patienceMs },
    isStrict: options.strict === true,
    badRowsMax: badRowsOf(options.maxBadRows),
    scratchDirectory,
  };
}

/** Ingests a source as a run of this installation, and is seen by its peers meanwhile. @throws as `produce` */
export async function produceIn(
  installation: Installation,
  request: Pick<ProduceRequest, 'runKey' | 'source' | 'settings' | 'side' | 'signal' | 'onReject' | 'onProgress'>,
): Promise<Production> {
  const { ledger, store, wake, id, now } = installation;
  const presence = await enterIngest(installation);
  try {
    return await produce({ ...request, ledger, store, wake, now, installationId: id });
  } finally {
    presence.disconnect();
  }
}

/** Ingests a source as a run, with a progress line. `side`: who answers it, where this command works it too. @throws as `produce` */
export async function ingest(
  installation: Installation,
  source: SourceLocation,
  runKey: RunKey,
  settings: ProducerSettings,
  side: Side | undefined,
  signal: AbortSignal,
  isShown: boolean,
): Promise<Production> {
  const progress = startProgress(isShown, installation.config.isCi);
  let rejects = 0;
  try {
    const production = await produceIn(installation, {
      runKey, source, settings, side, signal,
      onReject: (message) => {
        rejects += 1;
        if (!isShown || rejects > rejectsTold + 1) return;
        progress.end();
        tell(rejects > rejectsTold ? '  … more lines are rejected; all of them are in the rejects file' : `rejected: ${message}`);
      },
      onProgress: ({ rows, rejected }) => progress.ingest(rows, rejected),
    });
    progress.end();
    // At once: whoever waits for the end of the run should know why it may take long.
    if (isShown) for (const part of production.deferred) tell(deferredText(part));
    return production;
  } finally {
    progress.end();
  }
}

/** A duration of a flag, ms; undefined when it was not given. @throws PlimsollError `usage` */
export function timeoutOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  throw new PlimsollError('usage', { message: `${text} is not a duration`, where: '--timeout', hint: 'For example 90s, 10m or 24h.' });
}

function badRowsOf(text: string | undefined): ProducerSettings['badRowsMax'] {
  if (text === undefined) return { kind: 'none' };
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  const value = Number(match?.[1]);
  if (match && match[2] === '%' && value <= 100) return { kind: 'percent', percent: value };
  if (match && match[2] === '' && Number.isInteger(value)) return { kind: 'rows', rows: value };
  throw new PlimsollError('usage', { message: `${text} is neither a number of rows nor a percentage`, where: '--max-bad-rows', hint: 'For example --max-bad-rows 10 or --max-bad-rows 1%.' });
}
