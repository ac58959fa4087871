/** An installation of the product in a scratch home, set up as an operator would for this corpus. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { openInstallation, type Installation } from '../../../cli/compose.ts';
import { loadConfig } from '../../../config/config.ts';
import { readEnvironment } from '../../../config/env.ts';
import { priceTable } from '../../../config/models.ts';
import type { ProducerSettings } from '../../../producers/producer.ts';
import { contexts } from '../corpus.ts';

/** Settings that differ from the defaults: the corpus' own classes, and a provider that need not be asked twice. */
function settings(url: string | undefined): unknown {
  return { contexts, poll: { min: '100ms' }, submit: { queueRows: 100_000_000 }, ...(url === undefined ? {} : { anthropic: { baseUrl: url } }) };
}

/** Opens the installation of a home; the provider, if any, is the one at `url`. Everything is logged to standard error under LOG_LEVEL=info. */
export async function openBench(home: string, url?: string): Promise<Installation> {
  mkdirSync(home, { recursive: true });
  writeFileSync(`${home}/plimsoll.yaml`, stringify(settings(url)));
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
    anthropicVersion: config.anthropic.version,
    price: priceTable(),
    defaults: config.defaults,
    isStrict: false,
    badRowsMax: { kind: 'none' },
    scratchDirectory,
  };
}
