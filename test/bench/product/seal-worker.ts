/**
 * A worker that packs and seals and does nothing else: what is sealed then waits for a provider that never comes.
 *
 *   seal-worker.ts HOME     prints a line when it works, and ends on SIGTERM
 */
import { packLimits } from '../../../cli/compose.ts';
import { makePacker } from '../../../workers/packer.ts';
import { makeSealer } from '../../../workers/sealer.ts';
import { openSegmentQueues } from '../../../workers/segment-queues.ts';
import { startWorker } from '../../../workers/worker.ts';
import { argument } from '../child.ts';
import { openBench } from './installation.ts';

const installation = await openBench(argument(0));
const { config, ledger, store, wake, keys, now, log } = installation;
const shared = { ledger, store, wake, now, log };
const queues = openSegmentQueues(installation.connect(), keys.queuePrefix);
const worker = startWorker({
  ...shared,
  handlers: [makePacker({ ...shared, queues, limits: packLimits(config) }), makeSealer({ ...shared, lingerMs: config.archive.lingerMs })],
  owner: `bench/${process.pid}`,
  redis: installation.connect(),
  queuePrefix: keys.queuePrefix,
  claimLeaseMs: config.sweep.leaseMs,
  sweepIntervalMs: config.sweep.intervalMs,
  onBehind: (fault) => {
    throw fault;
  },
});
process.stdout.write('sealing\n');
process.on('SIGTERM', () => {
  void worker
    .drain(5_000)
    .then(async () => await queues.close())
    .then(async () => await installation.close())
    .then(() => process.exit(0));
});
