/** `replay`: exports a run again from the journal. The same outcomes give the same bytes, so this proves that the files are what they were. */
import { Command } from 'commander';
import { exportArchive, gatherRun } from '../exporters/exporter.ts';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { outcomeKey } from '../segments/lake.ts';
import { decodeOutcome } from '../segments/outcome.ts';
import type { Store } from '../segments/store/store.ts';
import { exporterSettings, type Installation } from './compose.ts';
import { findRun } from './names.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { countOf, countText, printJson, tell } from './terminal.ts';

/** The `replay` verb. */
export function replayCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('replay'))
    .description('Export a run again from the journal, and compare it with what is in the lake.')
    .argument('<run>', 'run key')
    .addHelpText('after', '\nNothing is sent and nothing is overwritten: equal files stay, missing ones are written, others are named.\n\nExample:\n  plimsoll replay nightly-2026-11-21\n\nExit codes: 0 every file is byte-identical or was restored, 1 a file differs, 2 no such run, 6 the run has not ended')
    .action(async (name: string, options: CommonOptions) => exit(await withInstallation(options, 'words', async (installation) => await replay(installation, name, options))));
}

async function replay(installation: Installation, name: string, options: CommonOptions): Promise<ExitCode> {
  const { ledger, config } = installation;
  const run = await findRun(ledger, name);
  if (run.state !== 'complete' && run.state !== 'canceled') {
    throw new PlimsollError('run_unfinished', { message: `the run ${run.run} has not ended, so its files are not all there yet`, where: run.run, hint: `Watch it: plimsoll watch ${run.run}` });
  }
  const same: string[] = [];
  const restored: string[] = [];
  const differing: { readonly key: string; readonly message: string }[] = [];
  const store = comparing(installation.store, same, restored);
  const attempt = async (step: () => Promise<unknown>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof PlimsollError) || error.code !== 'lake_conflict') throw error;
      differing.push({ key: error.where ?? '', message: error.message });
    }
  };
  const archives = await ledger.listArchives(run.run);
  const settings = exporterSettings(installation, config);
  for (const archive of archives) {
    await attempt(async () => await exportArchive({ outcome: decodeOutcome(await store.readWhole(outcomeKey(run.run, archive))), store, settings }));
  }
  await attempt(async () => await gatherRun({ run, archives, store, completedAtMs: run.completedAtMs ?? 0 }));
  if (options.json) printJson({ run_key: run.run, identical: same.length, restored, differing });
  else if (!options.quiet) {
    tell(`run ${run.run}: ${countOf(same.length, 'file')} byte-identical, ${restored.length === 0 ? 'none' : countText(restored.length)} missing${restored.length === 0 ? '' : ' and restored'}, ${differing.length === 0 ? 'none' : countText(differing.length)} different`);
    for (const key of restored) tell(`  restored  ${key}`);
    for (const { key, message } of differing) tell(`  differs   ${key}: ${message}`);
    if (differing.length > 0) tell('  Nothing was overwritten. Somebody changed these files after the export: move them away and replay once more.');
  }
  return differing.length === 0 ? 0 : 1;
}

/** A store that keeps count of what was there already and what was not. */
function comparing(store: Store, same: string[], restored: string[]): Store {
  const note = (key: string, kind: 'created' | 'same'): 'created' | 'same' => {
    (kind === 'same' ? same : restored).push(key);
    return kind;
  };
  return {
    uri: store.uri,
    put: async (key, content) => note(key, await store.put(key, content)),
    putFile: async (key, path, content) => note(key, await store.putFile(key, path, content)),
    read: (key, range) => store.read(key, range),
    readWhole: async (key, range) => await store.readWhole(key, range),
    head: async (key) => await store.head(key),
    list: (prefix) => store.list(prefix),
    close: async () => await Promise.resolve(),
  };
}
