/**
 * A provider that answers at once: a batch has ended as soon as it was sent, and its results are as long as its prompts
 * were. It notes the `custom_id` of every request by scanning the body and answers each from a pool of lines made
 * before, in a shuffled order, so that it costs the machine as little as a provider can.
 *
 *   node --import tsx test/bench/provider.ts answer            notes requests and answers them
 *   node --import tsx test/bench/provider.ts answer 2000000    the same, each answer with 2,000,000 bytes of text
 *   node --import tsx test/bench/provider.ts discard           reads and forgets every body
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Corpus, seededRandom } from './corpus.ts';

const idHead = Buffer.from('"custom_id":"');
const idBytesMax = 128;
/** Answers in the pool; more than fit into what gzip looks back to. */
const poolLines = 2_000;
const poolBytesMax = 48_000_000;
const pieceBytes = 1024 * 1024;

const [mode = 'answer', textBytes] = process.argv.slice(2);
const batches = new Map<string, readonly string[]>();
const pool = mode === 'answer' ? makePool(textBytes === undefined ? undefined : Number(textBytes)) : [];
let made = 0;

const server = createServer((incoming, response) => {
  answer(incoming, response).catch(() => response.destroy());
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}\n`);
});
process.on('SIGTERM', () => process.exit(0));

function makePool(bytes: number | undefined): readonly Buffer[] {
  const corpus = new Corpus(11);
  const lines: Buffer[] = [];
  for (let size = 0; lines.length < poolLines && size < poolBytesMax; size += lines.at(-1)?.length ?? 0) lines.push(corpus.nextAnswer(bytes));
  return lines;
}

async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path = ''] = (incoming.url ?? '').split('?');
  const id = /\/batches\/(\w+)/.exec(path)?.[1];
  if (incoming.method === 'POST') {
    const ids = await readIds(incoming);
    const name = `msgbatch_bench${String(made++).padStart(12, '0')}`;
    batches.set(name, ids);
    return sendJson(response, batchOf(name, ids.length, 'in_progress'));
  }
  const ids = id === undefined ? undefined : batches.get(id);
  if (id === undefined || ids === undefined) return sendJson(response, { data: [], has_more: false, first_id: null, last_id: null });
  if (path.endsWith('/results')) return await sendResults(response, ids);
  sendJson(response, batchOf(id, ids.length, 'ended'));
}

async function readIds(incoming: IncomingMessage): Promise<readonly string[]> {
  const ids: string[] = [];
  let rest: Buffer = Buffer.alloc(0);
  for await (const block of incoming as AsyncIterable<Buffer>) {
    if (mode === 'discard') continue;
    const bytes = rest.length === 0 ? block : Buffer.concat([rest, block]);
    let seen = Math.max(0, bytes.length - idHead.length - idBytesMax);
    for (let at = bytes.indexOf(idHead); at >= 0; at = bytes.indexOf(idHead, at + 1)) {
      const end = bytes.indexOf(0x22, at + idHead.length);
      if (end < 0) {
        seen = at;
        break;
      }
      ids.push(bytes.toString('latin1', at + idHead.length, end));
      seen = Math.max(seen, end);
    }
    rest = Buffer.from(bytes.subarray(seen));
  }
  return ids;
}

async function sendResults(response: ServerResponse, ids: readonly string[]): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/binary' });
  const order = shuffled(ids.length);
  let piece = Buffer.allocUnsafe(pieceBytes);
  let used = 0;
  const send = async (bytes: Buffer): Promise<void> => {
    if (!response.write(bytes)) await new Promise((resolve) => response.once('drain', resolve));
  };
  for (const place of order) {
    const head = `{"custom_id":"${ids[place] ?? ''}`;
    const tail = pool[place % pool.length] ?? Buffer.alloc(0);
    if (used + head.length + tail.length > pieceBytes) {
      if (used > 0) await send(piece.subarray(0, used));
      piece = Buffer.allocUnsafe(Math.max(pieceBytes, head.length + tail.length));
      used = 0;
    }
    used += piece.write(head, used, 'latin1');
    used += tail.copy(piece, used);
  }
  if (used > 0) await send(piece.subarray(0, used));
  response.end();
}

function shuffled(length: number): Uint32Array {
  const random = seededRandom(length);
  const order = Uint32Array.from({ length }, (_, index) => index);
  for (let last = length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    const kept = order[last] ?? 0;
    order[last] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
}

function batchOf(id: string, rows: number, status: 'in_progress' | 'ended'): unknown {
  const isEnded = status === 'ended';
  const at = new Date().toISOString();
  return {
    id, type: 'message_batch', processing_status: status,
    request_counts: { processing: isEnded ? 0 : rows, succeeded: isEnded ? rows : 0, errored: 0, canceled: 0, expired: 0 },
    created_at: at, expires_at: at, ended_at: isEnded ? at : null, archived_at: null, cancel_initiated_at: null,
    results_url: isEnded ? `http://${hostOf()}/v1/messages/batches/${id}/results` : null,
  };
}

function hostOf(): string {
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`;
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json', 'request-id': 'req_bench' });
  response.end(JSON.stringify(value));
}
