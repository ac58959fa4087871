/** `recover`: the ledger from the lake alone, after Redis has lost what it knew. */
import { Command } from 'commander';
import { PlimsollError, type ExitCode } from '../segments/errors.ts';
import { preview, rebuild, type RebuildReport } from '../segments/ledger/rebuild.ts';
import { openRestore } from '../segments/ledger/restore.ts';
import { microUsdToUsd } from '../segments/price.ts';
import type { Installation } from './compose.ts';
import { withCommon, withInstallation, type CommonOptions } from './options.ts';
import { ownerName } from './owner.ts';
import { listPeers } from './peers.ts';
import { countOf, countText, dollarText, print, printJson, tell } from './terminal.ts';
import { tierBudgets } from './tiers.ts';

interface RecoverOptions extends CommonOptions {
  readonly dryRun?: boolean;
  readonly force?: boolean;
}

/** How often a long rebuild says where it is. */
const tellEveryMs = 5_000;

/** The `recover` verb. */
export function recoverCommand(exit: (code: ExitCode) => void): Command {
  return withCommon(new Command('recover'))
    .description('Rebuild the ledger in Redis from the lake, after Redis has lost what it knew.')
    .option('--dry-run', 'say what would be rebuilt and write nothing')
    .option('--force', 'go on although other processes of this installation are connected, or nobody can tell')
    .addHelpText('after', '\nIt forgets what Redis knows of this installation and derives everything anew. Nothing is posted: an archive whose last\nattempt has no recorded answer comes back in doubt, with its reservation. It may be killed and run again at any moment;\nuntil it has finished, no process posts.\n\nExamples:\n  plimsoll recover --dry-run\n  plimsoll recover && plimsoll work\n\nExit codes: 0 rebuilt, 1 the lake contradicts itself or other processes are connected, 2 usage or Redis')
    .action(async (options: RecoverOptions) => {
      exit(
        await withInstallation(options, 'words', async (installation) => {
          const begunAt = performance.now();
          const report = await recover(installation, options);
          const seconds = Math.round(performance.now() - begunAt) / 1_000;
          if (options.json) printJson(documentOf(report, seconds));
          else print(textOf(report, seconds));
          return 0;
        }),
      );
    });
}

async function recover(installation: Installation, options: RecoverOptions): Promise<RebuildReport> {
  const { store, config, keys, now } = installation;
  const onRun = progressOf(options.quiet === true);
  if (options.dryRun) return await preview({ store, onRun });
  const redis = installation.connect('rebuild');
  await redis.ping();
  if (options.force !== true) await proveAlone(installation);
  return await rebuild({
    store, now, onRun,
    restore: openRestore(redis, keys),
    budgets: config.budgets,
    tierBudgets: (clients, assigned) => tierBudgets(config, clients, assigned),
    archiveRowsMax: config.archive.rowsMax,
    owner: ownerName(),
  });
}

/** A process that works on the ledger while it is rebuilt would lose what it writes. @throws PlimsollError `ledger_busy` */
async function proveAlone(installation: Installation): Promise<void> {
  const peers = await listPeers(installation.connect(), installation.config.redis.tag);
  const active = peers?.filter((peer) => peer.role !== 'view') ?? [];
  if (peers && active.length === 0) return;
  throw new PlimsollError('ledger_busy', {
    message: peers ? `${countOf(active.length, 'process', 'processes')} of this installation ${active.length === 1 ? 'is' : 'are'} at work: ${active.map((peer) => `${peer.process} (${peer.role})`).join(', ')}` : 'this Redis does not say who is connected (CLIENT LIST is not allowed)',
    where: 'redis clients',
    hint: 'Stop them and run this again. With --force it goes on: they find out and stop posting, but prompts that they take in at this moment may have to be sent again.',
  });
}

function progressOf(isQuiet: boolean): (run: string, index: number, count: number) => void {
  let toldAt = performance.now();
  return (run, index, count) => {
    if (isQuiet || performance.now() - toldAt < tellEveryMs) return;
    toldAt = performance.now();
    tell(`reading run ${index + 1} of ${count}: ${run}`);
  };
}

function documentOf(report: RebuildReport, seconds: number): object {
  return {
    epoch: report.epoch ?? null,
    is_dry_run: report.epoch === undefined,
    runs: report.runs,
    prompts: report.prompts,
    chunks: report.chunks,
    rows_waiting: report.rowsWaiting,
    archives: report.archives,
    doubts: report.doubts.map(({ run, archive, intent, rows }) => ({ run_key: run, archive, intent, rows })),
    superseded: report.superseded,
    budgets: report.budgets,
    tokens_reserved: report.tokensReserved,
    usd_reserved: microUsdToUsd(report.microUsdReserved),
    tokens_spent: report.tokensSpent,
    usd_spent: microUsdToUsd(report.microUsdSpent),
    seconds,
  };
}

function textOf(report: RebuildReport, seconds: number): string {
  const list = (counts: Readonly<Record<string, number>>): string => Object.entries(counts).map(([name, count]) => `${countText(count)} ${name}`).join(', ') || 'none';
  return [
    report.epoch === undefined ? 'nothing was written; this is what would be rebuilt' : `the ledger is rebuilt (epoch ${report.epoch}); nothing was posted`,
    `  runs      ${list(report.runs)}, ${countText(report.prompts)} prompts`,
    `  archives  ${list(report.archives)}`,
    `  chunks    ${countText(report.chunks)}; ${countText(report.rowsWaiting)} prompts wait to be packed`,
    `  reserved  ${countText(report.tokensReserved)} tokens, ${dollarText(report.microUsdReserved)}`,
    `  spent     ${countText(report.tokensSpent)} tokens, ${dollarText(report.microUsdSpent)}`,
    `  limits    ${countText(report.budgets)} set by operators`,
    ...report.doubts.map(({ run, archive, rows }) => `  in doubt  ${archive} of run ${run}, ${countText(rows)} rows: no answer was recorded; see plimsoll doubts`),
    ...report.superseded.map((archive) => `  left out  ${archive}: it was never sent, and its rows are in other archives or wait`),
    `  seconds   ${seconds.toFixed(1)}`,
  ].join('\n');
}
