import fc from 'fast-check';
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { describe, expect, it } from 'vitest';
import { JsonScanner } from '../../../local/simulator/scanner.ts';
import { asJson, at, batchBody, create, params, rig, sendPart, until } from './rig.ts';

/** claude-batches.md 1.2, 1.4, 1.9: what is checked before a batch is accepted, and what is not. */

const entry = (extra: object = {}): object => ({ custom_id: 'a', params: params(), ...extra });

const REFUSED: readonly (readonly [name: string, body: unknown, message: string | RegExp])[] = [
  ['a body that is not JSON', '{"requests":', /^The request body is not valid JSON: /],
  ['an empty body', '', /^The request body is not valid JSON: /],
  ['a trailing comma', '{"requests":[],}', /^The request body is not valid JSON: /],
  ['a control character in a string', '{"requests":["a\nb"]}', /^The request body is not valid JSON: /],
  ['bytes that are not UTF-8', Buffer.from('{"requests":["\xff"]}', 'latin1'), /^The request body is not valid JSON: /],
  ['half a surrogate pair', '{"requests":[{"custom_id":"a","params":{"x":"\\ud83d"}}]}', 'The request body is not valid JSON: no low surrogate in string: line 1 column 52 (char 51)'],
  ['no requests key', {}, 'requests: Field required'],
  ['an empty list', { requests: [] }, 'requests: List should have at least 1 item after validation, not 0'],
  ['a key beside requests', { requests: [entry()], x: 1 }, 'x: Extra inputs are not permitted'],
  ['no custom_id', { requests: [{ params: params() }] }, 'requests.0.custom_id: Field required'],
  ['no params', { requests: [{ custom_id: 'a' }] }, 'requests.0.params: Field required'],
  ['a custom_id of 65 characters', { requests: [entry({ custom_id: 'x'.repeat(65) })] }, 'requests.0.custom_id: String should have at most 64 characters'],
  ['a custom_id with other characters', { requests: [entry({ custom_id: 'a b' })] }, "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"],
  ['an empty custom_id', { requests: [entry({ custom_id: '' })] }, 'requests.0.custom_id: String should have at least 1 character'],
  ['a custom_id that is a number', { requests: [entry({ custom_id: 7 })] }, 'requests.0.custom_id: Input should be a valid string'],
  ['a key beside custom_id and params', { requests: [entry(), entry({ custom_id: 'b', x: 1 })] }, 'requests.1.x: Extra inputs are not permitted'],
  ['params that are no object', { requests: [entry({ params: 'x' })] }, 'requests.0.params: Input should be a valid dictionary'],
  ['a repeated custom_id', { requests: [entry({ custom_id: 'dup' }), entry({ custom_id: 'dup' })] }, "requests: custom_id's must be unique within a batch. Duplicate custom_id found: dup"],
];

describe('checked before a batch is accepted', () => {
  it.each(REFUSED)('%s is refused with its text', async (_name, body, message) => {
    const on = await rig();
    const reply = await on.call('POST', '/v1/messages/batches', body);
    expect([reply.status, at(reply.json, 'error.type')]).toEqual([400, 'invalid_request_error']);
    expect(at(reply.json, 'error.message')).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
    expect(on.truth('batch_accepted')).toEqual([]);
  });

  it('100,000 requests are accepted, one more is refused with its number', async () => {
    const requests = Array.from({ length: 100_000 }, (_, index) => `{"custom_id":"${index}","params":{}}`).join(',');
    const on = await rig();
    expect((await on.call('POST', '/v1/messages/batches', `{"requests":[${requests}]}`)).status).toBe(200);
    const reply = await on.call('POST', '/v1/messages/batches', `{"requests":[${requests},{"custom_id":"more","params":{}}]}`);
    expect(at(reply.json, 'error.message')).toBe('requests: List should have at most 100000 items after validation, not 100001');
  });

  it('a custom_id of 64 characters is accepted', async () => {
    expect(await create(await rig(), { requests: [entry({ custom_id: 'x'.repeat(64) })] })).toMatch(/^msgbatch_/);
  });

  it('nothing inside params is looked at', async () => {
    const { json } = await (await rig()).call('POST', '/v1/messages/batches', { requests: [entry({ params: { nonsense: [1, { deep: null }] } })] });
    expect([json.processing_status, at(json, 'request_counts.processing')]).toEqual(['in_progress', 1]);
  });

  it('escapes in keys and ids are decoded before they are judged', async () => {
    const on = await rig();
    const id = await create(on, '{"requests":[{"\\u0063ustom_id":"\\u0061b","params":{}}]}');
    await on.advance(61_000);
    expect((await on.call('GET', `/v1/messages/batches/${id}/results`)).text).toContain('"custom_id":"ab"');
  });
});

describe('size and encoding', () => {
  it('a declared length over the limit is refused by the edge while the body still comes', async () => {
    const reply = await (await rig({ batchBodyBytes: 1_000 })).call('POST', '/v1/messages/batches', batchBody(50));
    expect([reply.status, at(reply.json, 'error.type'), reply.headers.get('request-id')]).toEqual([413, 'request_too_large', null]);
  });

  it.each([
    ['batches, by default 256 MiB', '/v1/messages/batches', 268_435_456, {}],
    ['batches, read strictly', '/v1/messages/batches', 256_000_000, { batchBodyBytes: 256_000_000 }],
    ['Messages', '/v1/messages', 33_554_432, {}],
    ['count_tokens', '/v1/messages/count_tokens', 33_554_432, {}],
  ])('%s: a body sent to %s may have %i bytes', async (_name, path, limit, options) => {
    const on = await rig(options);
    const refuses = async (declared: number): Promise<boolean> => {
      const known = on.truth().length;
      const outgoing = request({ port: on.simulator.port, method: 'POST', path, headers: { 'x-api-key': 'k', 'anthropic-version': '2023-06-01', 'content-length': declared } });
      outgoing.on('error', () => undefined).flushHeaders();
      await until(() => on.truth().length > known);
      outgoing.destroy();
      const endings = ['request_answered', 'body_incomplete', 'client_gone'];
      await until(() => on.truth().slice(known).some((line) => endings.includes(String(line.kind))));
      return on.truth().slice(known).some((line) => line.status === 413);
    };
    expect([await refuses(limit), await refuses(limit + 1)]).toEqual([false, true]);
  });

  it('received bytes count when no length is declared', async () => {
    const on = await rig({ batchBodyBytes: 1_000 });
    const reply = await fetch(`${on.simulator.url}/v1/messages/batches`, {
      method: 'POST',
      headers: { 'x-api-key': 'k', 'anthropic-version': '2023-06-01' },
      body: new Blob([JSON.stringify(batchBody(50))]).stream(),
      duplex: 'half',
    });
    expect(reply.status).toBe(413);
  });

  it('a body of exactly the limit is accepted, one byte more is not', async () => {
    const body = JSON.stringify(batchBody(5));
    const on = await rig({ batchBodyBytes: Buffer.byteLength(body) });
    expect(await create(on, body)).toMatch(/^msgbatch_/);
    expect((await on.call('POST', '/v1/messages/batches', `${body} `)).status).toBe(413);
  });

  it.each([
    ['is accepted with its rows', '', 200, undefined],
    ['is refused at its last byte', 'x', 400, 'The request body is not valid JSON: unexpected content after document: line 1 column'],
  ])('G1: a body large enough for a thread of its own %s', async (_name, end, status, message) => {
    const on = await rig();
    const body = JSON.stringify(batchBody(50, { system: 'All of it is "quoted" \\u00e9.\n'.repeat(4_000) }));
    expect(body.length).toBeGreaterThan(4_194_304);
    const reply = await on.call('POST', '/v1/messages/batches', body + end);
    expect([reply.status, at(reply.json, 'error.message')]).toEqual([status, message === undefined ? undefined : `${message} ${body.length + 1} (char ${body.length})`]);
    const digest = createHash('sha256').update(batchBody(50).requests.map((request) => `${request.custom_id}\n`).join('')).digest('hex');
    expect(on.truth('batch_accepted').map((line) => [line.requests, line.custom_ids_sha256])).toEqual(status === 200 ? [[50, digest]] : []);
    if (status === 200) {
      await on.advance(61_000);
      expect((await on.call('GET', `/v1/messages/batches/${String(reply.json.id)}`)).json.request_counts).toMatchObject({ succeeded: 50 });
    }
  });

  it('a large body whose connection ends early is never a batch', async () => {
    const on = await rig();
    const body = JSON.stringify(batchBody(50, { system: 'x'.repeat(100_000) }));
    await sendPart(on, body.length + 1, body);
    await until(() => on.truth('body_incomplete').length === 1);
    expect(on.truth('batch_accepted')).toEqual([]);
  });

  it('after a 413, early413 close ends the connection instead of reading on', async () => {
    const on = await rig({ batchBodyBytes: 1_000, early413: 'close' });
    const outgoing = request({ port: on.simulator.port, method: 'POST', path: '/v1/messages/batches', headers: { 'x-api-key': 'k', 'anthropic-version': '2023-06-01', 'content-length': 1_000_000 } });
    outgoing.on('error', () => undefined);
    outgoing.write('{');
    const [response] = await once(outgoing, 'response');
    response.resume();
    await once(outgoing, 'close');
    expect([response.statusCode, outgoing.writableFinished]).toEqual([413, false]);
  });

  it('a gzip body is refused for batches, and accepted when asked for', async () => {
    const { gzipSync } = await import('node:zlib');
    const body = gzipSync(JSON.stringify(batchBody(2)));
    const refused = await (await rig()).call('POST', '/v1/messages/batches', body, { 'content-encoding': 'gzip' });
    expect([refused.status, at(refused.json, 'error.details.error_code')]).toEqual([400, 'request_body_encoding_unsupported']);
    const accepted = await (await rig({ acceptGzipBatches: true })).call('POST', '/v1/messages/batches', body, { 'content-encoding': 'gzip' });
    expect(accepted.status).toBe(200);
  });

  it('a body whose connection ends early is never a batch, whatever had arrived', async () => {
    const on = await rig();
    const body = JSON.stringify(batchBody(3));
    await sendPart(on, body.length + 1, body);
    await until(() => on.truth('body_incomplete').length === 1);
    expect(on.truth('batch_accepted')).toEqual([]);
    expect((await on.call('GET', '/v1/messages/batches')).json.data).toEqual([]);
  });
});

describe('the scanner behind it', () => {
  const DOCUMENTS = [
    '{"requests":[{"custom_id":"a","params":{"t":"é\\"\\\\ \\u00e9 \\ud83d\\ude00 😀 end"}}]}',
    ' [1, -2.5e+10, true, false, null, "", {}, []] ',
    '{"a":{"b":{"c":{"d":"a string of more than thirty-two bytes, so that whole vectors are compared \\n\\t"}}}}',
  ];
  const BROKEN = ['[1,]', '{"a" 1}', '{"a":1,}', '[01]', '[1.]', '[tru]', '["\\x"]', '["\\u12g4"]', '["\\udc00"]', '["\\ud800\\u0041"]', '["\\ud800x"]', '[1] 2', '["a', '{', '[}', '"\u0001"', '+1', '[1 2]', "['a']"];

  const verdictOf = (chunks: readonly Buffer[]): { fault: string | undefined; events: string } => {
    const events: string[] = [];
    const scanner = new JsonScanner({
      key: (depth, name) => events.push(`k${depth}${name.text()}`),
      open: (depth, kind, offset) => events.push(`o${depth}${kind}${offset}`),
      close: (depth, offset) => events.push(`c${depth}-${offset}`),
      scalar: (depth, string) => events.push(`s${depth}${string?.text() ?? ''}`),
    });
    chunks.forEach((chunk) => scanner.write(chunk));
    scanner.end();
    return { fault: scanner.fault?.what, events: events.join('|') };
  };

  it.each(DOCUMENTS)('J1: says the same of %s wherever it is split', (text) => {
    const bytes = Buffer.from(text);
    const whole = verdictOf([bytes]);
    expect(whole.fault).toBeUndefined();
    for (let cut = 1; cut < bytes.length; cut += 1) {
      expect(verdictOf([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(whole);
    }
    expect(verdictOf(Array.from(bytes, (byte) => Buffer.from([byte])))).toEqual(whole);
  });

  it.each(BROKEN)('refuses %s, split or whole', (text) => {
    const bytes = Buffer.from(text);
    const whole = verdictOf([bytes]).fault;
    expect(whole).toBeDefined();
    expect(verdictOf(Array.from(bytes, (byte) => Buffer.from([byte]))).fault).toBe(whole);
  });

  it('J1: says the same of deep params wherever they are split, and so of whole ones broken by one byte', () => {
    const text = fc.array(fc.constantFrom('\n', '"', '\\', '\\\\', '/', 'é', '😀', 'word ', '\u0001', 'x'.repeat(15), 'y'.repeat(64)), { maxLength: 40 }).map((parts) => parts.join(''));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 5 }, text, fc.integer(), fc.double({ noNaN: true }), fc.constantFrom(true, null), fc.array(tie('value'), { maxLength: 4 }), fc.dictionary(text, tie('value'), { maxKeys: 4 })),
    }));
    const damage = fc.record({ at: fc.nat(), byte: fc.constantFrom(...Buffer.from('"\\{}[]:,0au \n\u0001')) });
    fc.assert(
      fc.property(value, fc.boolean(), fc.option(damage), fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 20 }), (params, isPretty, broken, steps) => {
        const bytes = Buffer.from(JSON.stringify({ requests: [{ custom_id: 'a', params: { params, last: 7 } }] }, undefined, isPretty ? 1 : 0));
        if (broken !== null) {
          bytes[broken.at % bytes.length] = broken.byte;
        }
        const pieces: Buffer[] = [];
        for (let from = 0, turn = 0; from < bytes.length; turn += 1) {
          const length = steps[turn % steps.length] ?? 1;
          pieces.push(bytes.subarray(from, from + length));
          from += length;
        }
        const whole = verdictOf([bytes]);
        expect(verdictOf(pieces).fault).toBe(whole.fault);
        if (whole.fault === undefined) {
          expect(verdictOf(pieces).events).toBe(whole.events);
        }
        if (!isUtf8(bytes) || !/\\u[dD][89a-fA-F]/.test(bytes.toString('latin1'))) {
          expect(whole.fault === undefined).toBe(isUtf8(bytes) && isJson(bytes.toString()));
        }
      }),
      { numRuns: 400, seed: 11 },
    );
  });

  it('finds the end of strings and what is wrong in them at every place of a block of 64 bytes', () => {
    for (let before = 0; before < 130; before += 1) {
      const padding = 'x'.repeat(before);
      for (const [inner, fault] of [['\\\\', undefined], ['\\"', undefined], ['\\\\\\"y', undefined], ['\\x', 'invalid escaped character in string'], ['\\\\\\x', 'invalid escaped character in string'], ['\u0001', 'unexpected control character in string']] as const) {
        const bytes = Buffer.from(`[[[[["${padding}${inner}",["${'z'.repeat(70)}"]]]]]]`);
        expect([before, inner, verdictOf([bytes]).fault]).toEqual([before, inner, fault]);
      }
    }
  });

  it('agrees with JSON.parse about what is JSON, surrogates aside', () => {
    for (const text of [...DOCUMENTS, ...BROKEN.filter((broken) => !/\\u[dD]/.test(broken))]) {
      const isJson = Object.keys(asJson(text)).length > 0;
      expect([text, verdictOf([Buffer.from(text)]).fault === undefined]).toEqual([text, isJson]);
    }
  });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
