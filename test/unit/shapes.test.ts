/** Lines become drafts or faults: the three shapes, the splice, and every bad line by its code. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { faultMeanings } from '../../producers/faults.ts';
import type { Fault } from '../../producers/faults.ts';
import { findJsonFault } from '../../producers/json-fault.ts';
import { columnOf } from '../../producers/rejects.ts';
import { scanLine } from '../../producers/scan.ts';
import { readShape } from '../../producers/shapes.ts';
import type { Draft } from '../../producers/shapes.ts';
import { findInvalidUtf8 } from '../../producers/unicode.ts';
import { defaults, line } from './producer-world.ts';

function draftOf(text: string | Buffer): Draft {
  const read = readShape(Buffer.from(text), defaults);
  if ('fault' in read) throw new Error(`${read.fault.code}: ${read.fault.problem}`);
  return read.value;
}

function faultOf(text: string | Buffer): Fault {
  const read = readShape(Buffer.from(text), defaults);
  if ('fault' in read) return read.fault;
  throw new Error('the line was accepted');
}

describe('accepted lines', () => {
  test('text beyond ASCII is decoded from the bytes, escaped or not', () => {
    const draft = draftOf('{"id":"Ä-\\u00e4-😀-\\ud83d\\ude00","metadata":{"ort":"Zürich"},"params":{}}');
    expect(draft.id).toBe('Ä-ä-😀-😀');
    expect(draft.metadataJson).toBe('{"ort":"Zürich"}');
  });

  test('the short shape is put together once, with defaults for model and max_tokens', () => {
    const draft = draftOf('{"id":"a","prompt":"Grüße \\n \\"x\\"","topic":"t","priority":"low","client":"me@x","deadline":"2026-11-22T06:00:00+01:00"}');
    expect(draft.params.toString()).toBe('{"model":"claude-haiku-4-5","max_tokens":256,"messages":[{"role":"user","content":"Grüße \\n \\"x\\""}]}');
    expect(draft).toMatchObject({ topic: 't', priority: 'low', client: 'me@x', deadlineMs: Date.parse('2026-11-22T05:00:00Z') });
  });

  test('the short shape takes its own model and max_tokens before the defaults', () => {
    expect(draftOf('{"id":"a","prompt":"x","model":"m","max_tokens":7}').parsed).toMatchObject({ model: 'm', max_tokens: 7 });
  });

  test('flags do not change params that the line brings along', () => {
    expect(draftOf('{"custom_id":"a","params":{"model":"m"}}').params.toString()).toBe('{"model":"m"}');
  });

  test('a deadline may be Unix milliseconds', () => {
    expect(draftOf('{"id":"a","deadline":1795327200000,"params":{}}').deadlineMs).toBe(1_795_327_200_000);
  });

  test('the property names of a tool schema may be anything but __proto__', () => {
    expect(draftOf('{"id":"a","params":{"tools":[{"input_schema":{"properties":{"constructor":{}}}}]}}').id).toBe('a');
  });

  test('params are spliced byte for byte from any object, whatever stands around them', () => {
    const value = fc.jsonValue({ maxDepth: 4, noUnicodeString: false });
    const spaces = fc.string({ unit: fc.constantFrom(' ', '\t', '\r'), maxLength: 3 });
    fc.assert(
      fc.property(fc.dictionary(fc.string({ maxLength: 6 }), value), spaces, spaces, (params, before, after) => {
        const raw = JSON.stringify(params, null, ' ').replaceAll('\n', '\r');
        fc.pre(!raw.includes('__proto__'));
        const text = `{"metadata":{"params":"\\"params\\":{"}${before},"id":"a","params"${before}:${after}${raw}${after}}`;
        expect(draftOf(text).params.toString()).toBe(raw);
      }),
      { numRuns: 500 },
    );
  });
});

describe('refused lines', () => {
  const deep = `{"id":"a","params":{"x":${'['.repeat(63)}${']'.repeat(63)}}}`;
  const cases: readonly (readonly [string, string | Buffer, keyof typeof faultMeanings, RegExp])[] = [
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22]), 'invalid_utf8', /not UTF-8/],
    ['a cut line', '{"id":"a","params":{', 'invalid_json', /expected a key in double quotes or '}'/],
    ['single quotes', "{'id':1}", 'invalid_json', /expected a key in double quotes/],
    ['a comma too many', '{"id":"a",}', 'invalid_json', /expected a key in double quotes/],
    ['a lone high surrogate', '{"id":"a","params":{"x":"\\ud83d"}}', 'lone_surrogate', /half of a surrogate pair/],
    ['a lone low surrogate', '{"id":"a","params":{"x":"\\uDE00"}}', 'lone_surrogate', /half of a surrogate pair/],
    ['nesting over 64', deep, 'nesting_too_deep', /64 deep/],
    ['nesting without end', '['.repeat(1_000_000), 'nesting_too_deep', /64 deep/],
    ['an array', '[1]', 'not_an_object', /JSON object/],
    ['a number', '7', 'not_an_object', /JSON object/],
    ['__proto__', '{"id":"a","params":{"x":{"__proto__":{}}}}', 'key_forbidden', /__proto__/],
    ['__proto__ behind an escape', '{"id":"a","\\u005f_proto__":{},"params":{}}', 'key_forbidden', /__proto__/],
    ['constructor outside the params', '{"id":"a","metadata":{"constructor":1},"params":{}}', 'key_forbidden', /constructor/],
    ['a key twice', '{"id":"a","id":"b","params":{}}', 'key_duplicate', /"id"/],
    ['a key twice, once escaped', '{"id":"a","params":{"max_tokens":1,"max\\u005ftokens":99}}', 'key_duplicate', /max_tokens/],
    ['a mistyped key', '{"id":"a","tpoic":"x","params":{}}', 'key_unknown', /did you mean "topic"/],
    ['mistyped params', '{"id":"a","parms":{}}', 'key_unknown', /did you mean "params"/],
    ['neither params nor prompt', '{"id":"a"}', 'shape_unknown', /neither/],
    ['params and prompt', '{"id":"a","prompt":"x","params":{}}', 'shape_ambiguous', /"prompt"/],
    ['params and model', '{"id":"a","model":"x","params":{}}', 'shape_ambiguous', /put it into the params/],
    ['id and custom_id', '{"id":"a","custom_id":"a","params":{}}', 'shape_ambiguous', /keep one/],
    ['no id', '{"params":{}}', 'id_missing', /no "id"/],
    ['a number as id', '{"id":7,"params":{}}', 'id_invalid', /double quotes/],
    ['an empty id', '{"custom_id":"","params":{}}', 'id_invalid', /empty/],
    ['NUL in an id', '{"id":"a\\u0000","params":{}}', 'id_invalid', /NUL/],
    ['an id of 1,025 bytes', `{"id":"${'é'.repeat(513)}","params":{}}`, 'id_invalid', /1026 bytes/],
    ['a topic with a capital', '{"id":"a","topic":"Invoices","params":{}}', 'topic_invalid', /a-z.*; "invoices" would be$/],
    ['a topic with spaces', '{"id":"a","topic":"Late Fees","params":{}}', 'topic_invalid', /"late-fees" would be$/],
    ['a topic that nothing helps', '{"id":"a","topic":"!!","params":{}}', 'topic_invalid', /a digit$/],
    ['a topic of 64 characters', `{"id":"a","topic":"${'t'.repeat(64)}","params":{}}`, 'topic_invalid', /1 to 63/],
    ['a priority that quotas give', '{"id":"a","priority":"fallback","params":{}}', 'priority_invalid', /high, normal or low/],
    ['a client with a bar', '{"id":"a","client":"x|y","params":{}}', 'client_invalid', /not allowed/],
    ['a deadline without offset', '{"id":"a","deadline":"2026-11-22T06:00:00","params":{}}', 'deadline_invalid', /instant/],
    ['a deadline in seconds', '{"id":"a","deadline":1795327200,"params":{}}', 'deadline_invalid', /milliseconds/],
    ['metadata that is a list', '{"id":"a","metadata":[],"params":{}}', 'metadata_invalid', /object/],
    ['metadata over 64 KiB', `{"id":"a","metadata":{"x":"${'y'.repeat(65_536)}"},"params":{}}`, 'metadata_invalid', /at most 65536/],
    ['an empty prompt', '{"id":"a","prompt":""}', 'prompt_invalid', /not empty/],
    ['a system that is no string', '{"id":"a","prompt":"x","system":7}', 'prompt_invalid', /"system"/],
    ['params that are a string', '{"id":"a","params":"{}"}', 'params_invalid', /object/],
  ];

  test.each(cases)('%s: its own code and message', (_name, text, code, message) => {
    const found = faultOf(text);
    expect(found.code).toBe(code);
    expect(found.problem).toMatch(message);
    expect(found.problem.length).toBeLessThan(400);
  });

  test('a prompt never stands in the message', () => {
    expect(faultOf('{"id":"a","prompt":"secret words" oops}').problem).not.toContain('secret');
    expect(faultOf('{"id":"a","params":{"messages":"secret words"}').problem).not.toContain('secret');
  });

  test('nesting of 64 is accepted', () => {
    expect(draftOf(`{"id":"a","params":{"x":${'['.repeat(62)}${']'.repeat(62)}}}`).id).toBe('a');
  });

  test('columns count characters, offsets count bytes', () => {
    const bytes = Buffer.from('{"é😀":1,}');
    const found = faultOf(bytes);
    expect(found.at).toBe(bytes.length - 1);
    expect(columnOf(bytes, found.at ?? 0)).toBe(9);
  });
});

test('the finder of faults accepts and refuses exactly what the parser does', () => {
  const token = fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '"a"', '1', '-', '.5', 'e3', 'true', 'nul', ' ', '\\', '\\u00', 'x', '\t', '\u0001');
  fc.assert(
    fc.property(fc.array(token, { maxLength: 12 }), (tokens) => {
      const text = tokens.join('');
      let isJson = true;
      try {
        JSON.parse(text);
      } catch {
        isJson = false;
      }
      const found = findJsonFault(text);
      expect([text, found === undefined]).toEqual([text, isJson]);
      if (found) expect(found.at).toBeLessThanOrEqual(text.length);
    }),
    { numRuns: 20_000 },
  );
});

test('no mutation of a line crashes or hangs the reading of its shape', () => {
  const whole = line('id-1', { topic: 'invoices', metadata: { é: '😀' }, deadline: '2026-11-22T06:00:00Z' }, 'Sag „hallo“ \\ud83d');
  const edit = fc.record({ at: fc.nat(400), drop: fc.nat(5), insert: fc.uint8Array({ maxLength: 5 }) });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      let bytes = Buffer.from(whole);
      for (const { at, drop, insert } of edits) bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + drop)]);
      const read = readShape(bytes, defaults);
      if ('fault' in read) expect(Object.hasOwn(faultMeanings, read.fault.code)).toBe(true);
      else expect(() => JSON.parse(read.value.params.toString('utf8')) as unknown).not.toThrow();
    }),
    { numRuns: 10_000 },
  );
});

test('the offset of bad UTF-8 is that of the first byte no decoder accepts', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
      const at = findInvalidUtf8(bytes);
      const decoder = new TextDecoder('utf-8', { fatal: true });
      const isDecodable = (length: number): boolean => {
        try {
          decoder.decode(bytes.subarray(0, length));
          return true;
        } catch {
          return false;
        }
      };
      expect(at === undefined).toBe(isDecodable(bytes.length));
      if (at !== undefined) expect(isDecodable(at)).toBe(true);
    }),
    { numRuns: 5_000 },
  );
});

test('a scan of text that is no JSON ends', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', 'a') }), (text) => {
      expect(['members', 'fault']).toContain(scanLine(text).kind);
    }),
  );
});
