/** A line in outline and the same line whole: whatever the outline accepts is accepted whole, as the same prompt (O1). */
import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { priceTable } from '../../config/models.ts';
import { Outliner, wholeLine } from '../../producers/outline.ts';
import type { LineText } from '../../producers/outline.ts';
import { readText } from '../../producers/shapes.ts';
import { validateParams } from '../../producers/validate.ts';
import { estimateParams } from '../../segments/estimate.ts';
import { defaults, line } from './producer-world.ts';

const long = 'The harbour master wrote it down, and the clerk copied it into the large book. '.repeat(3);
const outliner = new Outliner();

/** Everything that a line becomes, or undefined when it is refused. */
function judge(text: LineText): unknown {
  const shape = readText(text, defaults);
  if ('fault' in shape) return undefined;
  const { params, parsed, hasEscapes, isPlain, ...envelope } = shape.value;
  const validation = validateParams(parsed, { anthropicVersion: '2026-10-21', price: priceTable() });
  if (validation.kind === 'fault') return undefined;
  const { model, maxTokens } = validation;
  const estimation = estimateParams({ json: params, params: parsed, outputTokensMax: maxTokens, hasEscapes, isPlain }, model);
  return estimation.kind === 'unbounded' ? undefined : { ...envelope, params: params.toString('utf8'), model: model.model, maxTokens, estimation };
}

function outlined(bytes: Buffer): LineText | undefined {
  return isUtf8(bytes) ? outliner.outline(bytes) : undefined;
}

const request = { model: 'claude-haiku-4-5', max_tokens: 64, messages: [{ role: 'user', content: long }] };
const lineOf = (changes: Readonly<Record<string, unknown>>, extra: Readonly<Record<string, unknown>> = {}): Buffer =>
  Buffer.from(JSON.stringify({ id: 'doc-1', ...extra, params: { ...request, ...changes } }));

describe('an outline', () => {
  test.each([
    ['a long text', lineOf({})],
    ['a long text beyond ASCII', lineOf({ system: `„${long}“ – Ω, straße, 你好` })],
    ['a text that normalising lengthens', lineOf({ system: `${long} ½ ﷺ` })],
    ['a long text with escapes', lineOf({ system: `${long}\n"quoted" \\ back\\slash / ${long}\t` })],
    ['a conversation', lineOf({ messages: Array.from({ length: 30 }, (_, at) => ({ role: at % 2 === 0 ? 'user' : 'assistant', content: `${at} ${long}` })) })],
    ['a long id, long metadata and what follows them', lineOf({}, { id: `${long}Ä`, metadata: { note: long, ort: 'Zürich' }, topic: 'invoices', deadline: '2026-11-22T06:00:00Z' })],
    ['the short shape', Buffer.from(JSON.stringify({ id: 'doc-1', topic: 'invoices', prompt: `${long}\n„${long}“`, system: long }))],
    ['white space between everything', Buffer.from(JSON.stringify(JSON.parse(line('doc-1', {}, long)), undefined, 2).replaceAll('\n', ' \t'))],
  ])('accepts %s as what the whole line is', (_, bytes) => {
    const outline = outlined(bytes);
    expect(outline && judge(outline)).toBeDefined();
    expect(outline && judge(outline)).toEqual(judge(wholeLine(bytes)));
  });

  test('holds no more of a long line than of a short one', () => {
    const lengthOf = (text: string): number | undefined => outlined(lineOf({ system: text }))?.text.length;
    expect(lengthOf(long.repeat(500))).toBe(lengthOf(long));
    expect(lengthOf(long)).toBeLessThan(500);
  });

  test.each([
    ['a unicode escape', lineOf({ system: `${long}X` }).toString().replace('X', '\\u00e4')],
    ['what looks like a unicode escape', JSON.stringify({ id: 'a', params: { ...request, system: `${long}C:\\users` } })],
    ['base64 data, whose length is priced', JSON.stringify({ id: 'a', params: { ...request, messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'base64', data: 'A'.repeat(5_000) } }] }] } })],
    ['a long key', JSON.stringify({ id: 'a', params: { ...request, tools: [{ name: 'x', input_schema: { [long]: 1 } }] } })],
    ['a control character in a string', lineOf({ system: `${long}X` }).toString().replace('X', '\x01')],
    ['a broken escape', lineOf({ system: `${long}X` }).toString().replace('X', '\\x')],
    ['a string without an end', `{"id":"${long}`],
  ])('is not made of a line with %s (O4)', (_, text) => {
    expect(outlined(Buffer.from(text))).toBeUndefined();
  });

  test('keeps long strings apart that begin alike (O3)', () => {
    const choice = (name: string, chosen: string): Buffer => lineOf({ tools: [{ name, input_schema: {} }], tool_choice: { type: 'tool', name: chosen } });
    for (const other of [`${long}!`, `${long.slice(0, 32)}${'~'.repeat(32)}`, `${long.slice(0, 32)}${'~'.repeat(31)}`]) {
      const outline = outlined(choice(long, other));
      expect(outline && judge(outline)).toBeUndefined();
    }
  });

  test('keeps the beginning of a long string, by which a rule may know it (O3)', () => {
    const outline = outlined(lineOf({ context_management: { edits: [{ type: `compact_${'x'.repeat(100)}` }] } }));
    expect(outline && judge(outline)).toBeUndefined();
  });
});

test('what an outline accepts is accepted whole as the same prompt, whatever was done to the line (O1)', () => {
  const wholes = [
    lineOf({ system: `„${long}“ ½ – ${long}`, tools: [{ name: long, input_schema: {} }], tool_choice: { type: 'tool', name: long } }, { metadata: { note: long }, topic: 'invoices' }),
    lineOf({ messages: [{ role: 'user', content: [{ type: 'text', text: `${long}\n\\\\"` }, { type: 'document', source: { type: 'text', data: long } }] }] }, { client: 'etl' }),
    Buffer.from(JSON.stringify({ custom_id: long, params: request })),
    Buffer.from(JSON.stringify({ id: 'x', prompt: `„${long}`, priority: 'high' })),
  ];
  const pieces = ['"', '\\', '\\u0041', '\\"', '\\\\', 'u', '{', '}', '[', ']', ',', ':', 'é', '½', '\x01', '~', `"${long}"`, `"${long}":1,`, ',"a":1', '\xff'];
  const edit = fc.record({ at: fc.nat(900), drop: fc.nat(6), insert: fc.constantFrom(...pieces, ''), isByte: fc.boolean() });
  let accepted = 0;
  fc.assert(
    fc.property(fc.constantFrom(...wholes), fc.array(edit, { maxLength: 3 }), (whole, edits) => {
      let bytes = whole;
      for (const { at, drop, insert, isByte } of edits) {
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(insert, isByte ? 'latin1' : 'utf8'), bytes.subarray(at + drop)]);
      }
      const outline = outlined(bytes);
      const found = outline && judge(outline);
      if (found === undefined) return;
      accepted += 1;
      expect(found).toEqual(judge(wholeLine(bytes)));
    }),
    { numRuns: 20_000 },
  );
  expect(accepted).toBeGreaterThan(1_000);
});
