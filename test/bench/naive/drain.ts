/**
 * The naive middle: a BullMQ worker takes the jobs and gathers requests; whenever a batch is full it is created, and the
 * last one when the queue is empty.
 *
 *   drain.ts HOME URL ROWS PROMPTS     prints ms, rows, batches; writes what the join needs, one file per batch, PROMPTS.0 and so on
 */
import Anthropic from '@anthropic-ai/sdk';
import { Worker } from 'bullmq';
import { EventEmitter, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { argument, begin, report } from '../child.ts';
import { connectTo, openBenchHome } from '../redis.ts';

type Request = Anthropic.Messages.BatchCreateParams.Request;

const home = await openBenchHome(argument(0));
const redis = connectTo(home);
const client = new Anthropic({ baseURL: argument(1), apiKey: 'bench', maxRetries: 0 });
const rowsTotal = Number(argument(2));
const startMs = begin();

let requests: Request[] = [];
let known: string[] = [];
let bytes = 0;
let rows = 0;
let batches = 0;
let creating: Promise<void> = Promise.resolve();

async function create(previous: Promise<void>): Promise<void> {
  const full = requests;
  const names = known;
  requests = [];
  known = [];
  bytes = 0;
  await previous;
  const { id } = await client.messages.batches.create({ requests: full });
  await writeFile(`${argument(3)}.${batches}`, names.join(''));
  await writeFile(`${argument(3)}.${batches}.id`, id);
  batches += 1;
}

const drained = new EventEmitter();
const isDrained = once(drained, 'end');
const worker = new Worker<{ id: string; topic: string; params: Request['params'] }>(
  'prompts',
  async (job) => {
    const request = { custom_id: job.data.id, params: job.data.params };
    const size = Buffer.byteLength(JSON.stringify(request)) + 1;
    if (bytes + size > 256_000_000 || requests.length === 100_000) creating = create(creating);
    bytes += size;
    requests.push(request);
    known.push(`${JSON.stringify({ custom_id: job.data.id, id: job.data.id, topic: job.data.topic })}\n`);
    rows += 1;
    await creating;
    if (rows === rowsTotal) drained.emit('end');
  },
  { connection: redis, concurrency: 50, removeOnComplete: { count: 0 } },
);
worker.on('error', (error) => drained.emit('error', error));
await isDrained;
await create(creating);
const ms = performance.now() - startMs;
await worker.close();
redis.disconnect();
await home.close();
report({ ms, rows, batches });
