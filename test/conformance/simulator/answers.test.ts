import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadAnswers } from '../../../local/simulator/answersource.ts';
import { findModel } from '../../../local/simulator/models.ts';
import { SchemaEndless, valueFor } from '../../../local/simulator/schema.ts';
import { generator } from '../../../local/simulator/seeded.ts';
import { writeText } from '../../../local/simulator/sentences.ts';
import { textTokens } from '../../../local/simulator/tokens.ts';
import { at, create, finish, params, rig, rowFor, rowsOf, scratchFolder, START_MS, type Json } from './rig.ts';

/** Answers: deterministic, plausible, as long as asked for, in the form asked for; and answers of one's own. */

const say = (content: string, extra: Json = {}): Json => params({ messages: [{ role: 'user', content }], ...extra });
const message = (row: Json, path: string): unknown => at(row, `result.message.${path}`);

describe('the default answer', () => {
  it('is the same for the same seed and prompt, in batches and Messages alike', async () => {
    const texts = new Set<unknown>();
    for (const on of [await rig({ seed: 5 }), await rig({ seed: 5 })]) {
      texts.add(message(await rowFor(on, say('One prompt.')), 'content.0.text'));
      texts.add(at((await on.call('POST', '/v1/messages', say('One prompt.'))).json, 'content.0.text'));
    }
    expect(texts.size).toBe(1);
  });

  it('differs for another seed and for another prompt', async () => {
    const texts = new Set<unknown>();
    for (const [seed, prompt] of [[5, 'One prompt.'], [6, 'One prompt.'], [5, 'Another prompt.']] as const) {
      texts.add(message(await rowFor(await rig({ seed }), say(prompt, { max_tokens: 2_000 })), 'content.0.text'));
    }
    expect(texts.size).toBe(3);
  });

  it('grows with the prompt', async () => {
    const on = await rig();
    const short = Number(message(await rowFor(on, say('Short.', { max_tokens: 4_000 })), 'usage.output_tokens'));
    const long = Number(message(await rowFor(on, say('A long document. '.repeat(2_000), { max_tokens: 4_000 })), 'usage.output_tokens'));
    expect(long).toBeGreaterThan(3 * short);
  });

  it.each(['claude-haiku-4-5', 'claude-opus-5'])('N1: its sentences, added up, count what the whole text counts on %s', (name) => {
    const model = findModel(name, START_MS);
    for (let seed = 0; model !== undefined && seed < 200; seed += 1) {
      const { text, tokens } = writeText(seed, model, generator(seed));
      expect([text, tokens]).toEqual([text, textTokens(text, model, 'plausible')]);
    }
    expect(model).toBeDefined();
  });

  it('never takes more output tokens than max_tokens', async () => {
    const on = await rig();
    for (let most = 1; most <= 40; most += 3) {
      expect(Number(message(await rowFor(on, say('A long document. '.repeat(200), { max_tokens: most })), 'usage.output_tokens'))).toBeLessThanOrEqual(most);
    }
  });

  it('a truncated answer is a succeeded row with stop_reason max_tokens and all its tokens used', async () => {
    const on = await rig({ faults: { faults: [{ fault: 'truncated' }] } });
    const row = await rowFor(on, say('Tell me more.', { max_tokens: 3 }));
    expect([at(row, 'result.type'), message(row, 'stop_reason'), message(row, 'usage.output_tokens')]).toEqual(['succeeded', 'max_tokens', 3]);
  });

  it('stops at a stop sequence and says which', async () => {
    const on = await rig({ answers: () => 'one two STOP three' });
    const row = await rowFor(on, say('x', { stop_sequences: ['STOP'] }));
    expect([message(row, 'stop_reason'), message(row, 'stop_sequence'), message(row, 'content.0.text')]).toEqual(['stop_sequence', 'STOP', 'one two ']);
  });

  it('a refusal is a succeeded row with stop_reason refusal', async () => {
    const row = await rowFor(await rig(), say('ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL_1FAEFB6177B4672DEE07F9D3AFC62588CCD2631EDCF22E8CCC1FB35B501C9C86'));
    expect([at(row, 'result.type'), message(row, 'stop_reason'), message(row, 'stop_details.type')]).toEqual(['succeeded', 'refusal', 'refusal']);
  });

  it('a forced tool is used with an input that fits its schema', async () => {
    const tools = [{ name: 'save', input_schema: { type: 'object', properties: { total: { type: 'number' }, kind: { enum: ['a', 'b'] } }, required: ['total', 'kind'] } }];
    const row = await rowFor(await rig(), say('x', { model: 'claude-opus-5', tools, tool_choice: { type: 'tool', name: 'save' } }));
    expect([message(row, 'stop_reason'), message(row, 'content.0.name'), message(row, 'content.0.caller.type')]).toEqual(['tool_use', 'save', 'direct']);
    expect(typeof message(row, 'content.0.input.total')).toBe('number');
    expect(['a', 'b']).toContain(message(row, 'content.0.input.kind'));
  });

  it('thinking comes first, inside max_tokens', async () => {
    const row = await rowFor(await rig(), say('x', { model: 'claude-sonnet-4-6', max_tokens: 3_000, thinking: { type: 'enabled', budget_tokens: 1_024 } }));
    expect([message(row, 'content.0.type'), message(row, 'content.1.type')]).toEqual(['thinking', 'text']);
    const [output, thinking] = [Number(message(row, 'usage.output_tokens')), Number(message(row, 'usage.output_tokens_details.thinking_tokens'))];
    expect([output <= 3_000, thinking > 0, thinking < output]).toEqual([true, true, true]);
  });

  it('a requested output format gives JSON of that schema', async () => {
    const schema = { type: 'object', properties: { name: { type: 'string' }, lines: { type: 'array', items: { type: 'integer' }, minItems: 2 } }, required: ['name', 'lines'], additionalProperties: false };
    const row = await rowFor(await rig(), say('x', { output_config: { format: { type: 'json_schema', schema } } }));
    const value: unknown = JSON.parse(String(message(row, 'content.0.text')));
    expect(typeof at(value, 'name')).toBe('string');
    expect(Number(at(value, 'lines.length'))).toBeGreaterThanOrEqual(2);
  });
});

describe('values for schemas', () => {
  it.each([
    ['const', { const: 7 }, (value: unknown) => value === 7],
    ['integer bounds', { type: 'integer', minimum: 3, maximum: 5 }, (value: unknown) => Number.isInteger(value) && Number(value) >= 3 && Number(value) <= 5],
    ['exclusive bounds', { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 }, (value: unknown) => Number(value) > 0 && Number(value) < 1],
    ['multiples', { type: 'integer', multipleOf: 5, minimum: 11 }, (value: unknown) => Number(value) % 5 === 0 && Number(value) >= 11],
    ['anyOf', { anyOf: [{ type: 'boolean' }, { type: 'null' }] }, (value: unknown) => value === null || typeof value === 'boolean'],
    ['allOf', { allOf: [{ type: 'object', properties: { a: { type: 'string' } } }, { properties: { b: { type: 'integer' } } }] }, (value: unknown) => typeof at(value, 'a') === 'string' && typeof at(value, 'b') === 'number'],
    ['a reference', { $defs: { n: { type: 'integer' } }, type: 'object', properties: { a: { $ref: '#/$defs/n' } } }, (value: unknown) => Number.isInteger(at(value, 'a'))],
    ['a definition that holds itself', { $defs: { t: { type: 'object', properties: { next: { anyOf: [{ $ref: '#/$defs/t' }, { type: 'null' }] } }, required: ['next'] } }, $ref: '#/$defs/t' }, (value: unknown) => typeof value === 'object'],
    ['text lengths', { type: 'string', minLength: 30, maxLength: 31 }, (value: unknown) => [30, 31].includes(String(value).length)],
    ['formats', { type: 'string', format: 'date' }, (value: unknown) => /^\d{4}-\d\d-\d\d$/.test(String(value))],
  ])('%s', (_name, schema, holds) => {
    for (let seed = 0; seed < 40; seed += 1) {
      expect(holds(valueFor(schema, generator(seed)))).toBe(true);
    }
  });
});

describe('schemas without a finite value', () => {
  const itself = { $defs: { t: { type: 'object', properties: { next: { $ref: '#/$defs/t' } }, required: ['next'] } }, $ref: '#/$defs/t' };
  it.each([
    ['a reference to itself', { $ref: '#' }],
    ['an object that requires itself', itself],
    ['all of itself', { allOf: [{ $ref: '#' }] }],
  ])('%s is an error of its row alone, and of the call', async (_name, schema) => {
    const on = await rig();
    const bad = say('x', { output_config: { format: { type: 'json_schema', schema } } });
    const id = await create(on, { requests: [{ custom_id: 'good', params: say('x') }, { custom_id: 'bad', params: bad }] });
    await on.advance(61_000);
    const batch = (await on.call('GET', `/v1/messages/batches/${id}`)).json;
    expect([batch.processing_status, at(batch, 'request_counts.succeeded'), at(batch, 'request_counts.errored')]).toEqual(['ended', 1, 1]);
    const rows = rowsOf((await on.call('GET', `/v1/messages/batches/${id}/results`)).text);
    expect([at(rows.get('bad'), 'result.error.error.type'), at(rows.get('good'), 'result.type')]).toEqual(['api_error', 'succeeded']);
    expect((await on.call('POST', '/v1/messages', bad)).status).toBe(500);
  });

  it.each([
    ['a tree of wide nodes', { type: 'object', properties: Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`p${index}`, { $ref: '#' }])) }],
    ['a choice between itself and a text', { anyOf: [{ type: 'object', properties: { next: { $ref: '#' } }, required: ['next'] }, { type: 'string' }] }],
    ['a text longer than memory', { type: 'string', minLength: 10_000_000_000 }],
  ])('%s ends', (_name, schema) => {
    expect(JSON.stringify(valueFor(schema, generator(1))).length).toBeLessThan(3_000_000);
  });

  it('more items than can be sent are refused', () => {
    expect(() => valueFor({ type: 'array', minItems: 10_000_000_000 }, generator(1))).toThrow(SchemaEndless);
  });
});

describe('answers of one\'s own', () => {
  it.each([
    ['a text that is an object', { text: { total: 12 } }],
    ['a number', 7],
    ['blocks that are texts', { content: ['a'] }],
    ['blocks that JSON cannot say', { content: [{ type: 'text', text: 7n }], outputTokens: 1 }],
    ['tokens that are a text', { text: 'a', outputTokens: '7' }],
    ['an error without a message', { error: { type: 'api_error' } }],
  ])('%s is an error of its row alone', async (_name, given) => {
    const path = join(scratchFolder(), 'answers.mjs');
    writeFileSync(path, 'export const answer = ({ prompt }) => globalThis.givenAnswers.get(prompt);\n');
    Reflect.set(globalThis, 'givenAnswers', new Map([['bad', given]]));
    const on = await rig({ answers: await loadAnswers(path) });
    const rows = await finish(on, { requests: ['bad', 'good'].map((prompt) => ({ custom_id: prompt, params: say(prompt) })) });
    Reflect.deleteProperty(globalThis, 'givenAnswers');
    expect([at(rows.get('bad'), 'result.error.error.type'), at(rows.get('good'), 'result.type')]).toEqual(['api_error', 'succeeded']);
  });

  it('from a module, where it has one', async () => {
    const path = join(scratchFolder(), 'answers.mjs');
    writeFileSync(path, 'export const answer = ({ prompt }) => (prompt.includes("total") ? `The total is ${prompt.length}.` : undefined);\n');
    const on = await rig({ answers: await loadAnswers(path) });
    expect(message(await rowFor(on, say('the total?')), 'content.0.text')).toBe('The total is 10.');
    expect(message(await rowFor(on, say('something else')), 'content.0.text')).not.toContain('total is');
  });

  it('from a file of rules, errors included', async () => {
    const path = join(scratchFolder(), 'answers.json');
    writeFileSync(path, JSON.stringify({ answers: [{ match: 'invoice', text: '{"total":1}' }, { custom_id: '^only$', error: { type: 'overloaded_error', message: 'Overloaded' } }] }));
    const on = await rig({ answers: await loadAnswers(path) });
    expect(message(await rowFor(on, say('an invoice')), 'content.0.text')).toBe('{"total":1}');
    expect(at(await rowFor(on, say('a letter')), 'result.error.error.type')).toBe('overloaded_error');
  });

  it.each(['pause_turn', 'model_context_window_exceeded', 'stop_sequence'])('can end with stop_reason %s', async (stopReason) => {
    const row = await rowFor(await rig({ answers: () => ({ text: 'So far.', stopReason }) }), say('x'));
    expect([at(row, 'result.type'), message(row, 'stop_reason')]).toEqual(['succeeded', stopReason]);
  });

  it.each([
    ['a file that is not there', '/nowhere/answers.json', /cannot be read/],
    ['a module that is not there', '/nowhere/answers.mjs', /cannot be loaded/],
  ])('%s is told in one line', async (_name, path, what) => {
    await expect(loadAnswers(path)).rejects.toThrow(what);
  });

  it('a module without the function is told in one line', async () => {
    const path = join(scratchFolder(), 'empty.mjs');
    writeFileSync(path, 'export const other = 1;\n');
    await expect(loadAnswers(path)).rejects.toThrow(/exports no function named "answer"/);
  });
});
