/**
 * The naive upload: read the prompts, put the requests into an array until it is as large as a batch may be, hand it to
 * the SDK.
 *
 *   upload.ts URL FILE BYTES     prints ms, rows, bytes (of the body)
 */
import Anthropic from '@anthropic-ai/sdk';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { argument, begin, report } from '../child.ts';

type Params = Anthropic.Messages.BatchCreateParams.Request['params'];

const client = new Anthropic({ baseURL: argument(0), apiKey: 'bench' });
const bytesMax = Number(argument(2));
const startMs = begin();

const requests: Anthropic.Messages.BatchCreateParams.Request[] = [];
let bytes = 15;
for await (const line of createInterface({ input: createReadStream(argument(1)), crlfDelay: Infinity })) {
  const prompt = JSON.parse(line) as { id: string; params: Params };
  const request = { custom_id: prompt.id, params: prompt.params };
  const size = Buffer.byteLength(JSON.stringify(request)) + 1;
  if (bytes + size > bytesMax || requests.length === 100_000) break;
  bytes += size;
  requests.push(request);
}
await client.messages.batches.create({ requests });

report({ ms: performance.now() - startMs, rows: requests.length, bytes });
