/**
 * The naive way out: the SDK's `results()`, one parsed object per row, joined with what is known of the prompts by a Map,
 * written as JSON lines, with or without gzip.
 *
 *   results.ts URL BATCH PROMPTS OUT plain|gzip     prints ms, rows, bytes (of the rows)
 *
 * PROMPTS is a file with one JSON object per prompt: custom_id, id, topic.
 */
import Anthropic from '@anthropic-ai/sdk';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { finished, pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { argument, begin, report } from '../child.ts';

interface Known {
  readonly custom_id: string;
  readonly id: string;
  readonly topic: string;
}

const client = new Anthropic({ baseURL: argument(0), apiKey: 'bench' });
const known = new Map<string, Known>();
for await (const line of createInterface({ input: createReadStream(argument(2)), crlfDelay: Infinity })) {
  const prompt = JSON.parse(line) as Known;
  known.set(prompt.custom_id, prompt);
}

const startMs = begin();
const file = createWriteStream(argument(3));
const isZipped = argument(4) === 'gzip';
const gzip = createGzip({ level: 1 });
const piped = isZipped ? pipeline(gzip, file) : finished(file);
const out = isZipped ? gzip : file;

let rows = 0;
let bytes = 0;
for await (const row of await client.messages.batches.results(argument(1))) {
  const prompt = known.get(row.custom_id);
  if (!prompt) throw new Error(`nobody asked for ${row.custom_id}`);
  known.delete(row.custom_id);
  const message = row.result.type === 'succeeded' ? row.result.message : undefined;
  const text = message?.content.map((block) => (block.type === 'text' ? block.text : '')).join('');
  const line = `${JSON.stringify({ id: prompt.id, topic: prompt.topic, status: row.result.type, text, usage: message?.usage, result: row.result })}\n`;
  rows += 1;
  bytes += line.length;
  if (!out.write(line)) await once(out, 'drain');
}
if (known.size > 0) throw new Error(`${known.size} prompts have no result`);
out.end();
await piped;

report({ ms: performance.now() - startMs, rows, bytes });
