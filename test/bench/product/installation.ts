/** An installation of the product in a scratch home. */
import { openInstallation, type Installation } from '../../../cli/compose.ts';
import { loadConfig } from '../../../config/config.ts';
import { readEnvironment } from '../../../config/env.ts';
import { priceTable } from '../../../config/models.ts';
import type { ProducerSettings } from '../../../producers/producer.ts';

/** Opens the installation of a home that `prepareHome` has made. Faults go to standard error, everything under LOG_LEVEL=info. */
export async function openBench(home: string): Promise<Installation> {
  const { PATH, LOG_LEVEL } = process.env;
  const config = loadConfig({ env: readEnvironment({ PATH, ANTHROPIC_API_KEY: 'bench', PLIMSOLL_HOME: home }), cwd: home });
  const startMs = performance.timeOrigin;
  return await openInstallation({
    config,
    install: false,
    announce: () => undefined,
    log: ({ level, event, subject, detail }) => {
      if (level === 'error' || level === 'warn' || (level === 'info' && LOG_LEVEL === 'info')) {
        process.stderr.write(`${((Date.now() - startMs) / 1000).toFixed(2)} ${level} ${event} ${subject} ${JSON.stringify(detail ?? {})}\n`);
      }
    },
  });
}

/** What the command line makes of the same configuration. */
export function settingsOf({ config, scratchDirectory }: Installation): ProducerSettings {
  return {
    contextClasses: config.contexts,
    chunkBytesMax: config.chunk.bytesMax,
    chunkRowsMax: config.chunk.rowsMax,
    openBytesMax: config.chunk.openBytesMax,
    lineBytesMax: config.input.lineBytesMax,
    expansionMax: config.input.expansionMax,
    sectionBytes: config.input.sectionBytes,
    anthropicVersion: config.anthropic.version,
    price: priceTable(),
    defaults: config.defaults,
    cache: config.cache.policy === 'auto' ? { topics: config.cache.topics, after: config.cache.after, isPriming: config.cache.primerWaitMs > 0 } : undefined,
    isStrict: false,
    badRowsMax: { kind: 'none' },
    scratchDirectory,
  };
}
