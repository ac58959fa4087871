/**
 * The naive way in, as a competent user writes it first: every line of the file becomes one BullMQ job with the prompt
 * as its data, a thousand at a time. Redis syncs its log every second, as it does in most installations; Plimsoll's own
 * syncs always, so this side has the easier disk.
 *
 *   ingest.ts HOME FILE     prints ms, rows, redisBytes
 */
import { Queue } from 'bullmq';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { argument, begin, report } from '../child.ts';
import { connectTo, openBenchHome, usedMemory } from '../redis.ts';

interface Prompt {
  readonly id: string;
  readonly topic: string;
  readonly priority: 'high' | 'normal' | 'low';
  readonly params: unknown;
}

const priorityOf = { high: 1, normal: 2, low: 3 } as const;

const home = await openBenchHome(argument(0));
const redis = connectTo(home);
await redis.config('SET', 'appendfsync', 'everysec');
const queue = new Queue<Prompt>('prompts', { connection: redis });
await queue.waitUntilReady();
const before = await usedMemory(redis);
const startMs = begin();

let rows = 0;
let jobs: { name: string; data: Prompt; opts: { priority: number } }[] = [];
for await (const line of createInterface({ input: createReadStream(argument(1)), crlfDelay: Infinity })) {
  if (line.trim() === '') continue;
  const prompt = JSON.parse(line) as Prompt;
  jobs.push({ name: 'prompt', data: prompt, opts: { priority: priorityOf[prompt.priority] } });
  if (jobs.length === 1_000) {
    await queue.addBulk(jobs);
    rows += jobs.length;
    jobs = [];
  }
}
if (jobs.length > 0) await queue.addBulk(jobs);
rows += jobs.length;

const ms = performance.now() - startMs;
const redisBytes = (await usedMemory(redis)) - before;
await queue.close();
redis.disconnect();
await home.close();
report({ ms, rows, redisBytes });
