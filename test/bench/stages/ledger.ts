/** The ledger: reservations per second, and its share of a whole run. */
import { rmSync } from 'node:fs';
import { writeCorpus } from '../corpus.ts';
import { prepareHome } from '../home.ts';
import { atMost, median, shown, type Row } from '../table.ts';
import type { Bench } from './stage.ts';

/** Reservations of 1, 8 and 64 clients, and the time that Redis spends in scripts while 100,000 prompts go end to end. */
export async function measureLedger(bench: Bench): Promise<readonly Row[]> {
  const { children, folder, runs, isQuick } = bench;
  const speeds: string[] = [];
  for (const clients of [1, 8, 64]) {
    const rates: number[] = [];
    for (let round = 0; round < runs; round += 1) {
      const found = await children.measure('product/reserve', prepareHome(`${folder}/home`), String(clients), String(isQuick ? 500 : 5_000));
      rates.push(((found.reservations ?? 0) * 1_000) / (found.ms ?? 1));
      rmSync(`${folder}/home`, { recursive: true, force: true });
    }
    speeds.push(shown(median(rates)));
  }
  const rows = isQuick ? 20_000 : 100_000;
  const provider = await children.serve('provider', 'answer');
  const corpus = await writeCorpus(`${folder}/prompts.jsonl`, 7, rows);
  const home = prepareHome(`${folder}/home`);
  const workers = [await children.work(home, provider.line), await children.work(home, provider.line)];
  const found = await children.measure('product/ingest', home, corpus.path, 'bench', 'finished', 'ledger');
  for (const worker of workers) await worker.stop();
  await provider.stop();
  const share = (100 * (found.ledgerMs ?? 0)) / (found.totalMs ?? 1);
  const queuesMs = (found.scriptsMs ?? 0) - (found.ledgerMs ?? 0);
  return [
    { stage: 'ledger', figure: `${speeds.join(' / ')} reservations/s`, compared: '1 / 8 / 64 clients, four budgets each, every write synced to disk', goal: '', isHeld: undefined },
    { stage: '', figure: `${shown(share)} % of the run in the ledger's scripts, once`, compared: `${shown(found.ledgerMs ?? 0)} ms of ${shown((found.totalMs ?? 0) / 1_000)} s for ${shown(rows)} prompts; the queues' scripts take ${shown(queuesMs)} ms more`, ...atMost(share, 2, ' %') },
  ];
}
