/** The rules for params, one case per rule, and what must not be refused. */
import { expect, test } from 'vitest';
import { priceTable } from '../../config/models.ts';
import { Intake } from '../../producers/intake.ts';
import type { FaultCode } from '../../producers/faults.ts';
import { intakeRules } from '../../producers/settings.ts';
import { validateParams } from '../../producers/validate.ts';
import type { AnthropicVersion } from '../../producers/validate.ts';
import { settingsIn } from './producer-world.ts';

const good = { model: 'claude-haiku-4-5', max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }] };

function validate(changes: Record<string, unknown>, anthropicVersion: AnthropicVersion = '2026-10-21') {
  const params = Object.fromEntries(Object.entries({ ...good, ...changes }).filter(([, value]) => value !== undefined));
  return validateParams(params, { anthropicVersion, price: priceTable() });
}

const refused: readonly (readonly [string, Record<string, unknown>, FaultCode, RegExp])[] = [
  ['no model', { model: undefined }, 'model_missing', /--model/],
  ['an empty model', { model: '' }, 'model_missing', /not empty/],
  ['an unknown model', { model: 'claude-haiku-4-6' }, 'model_unknown', /did you mean "claude-haiku-4-5"/],
  ['a retired model', { model: 'claude-3-7-sonnet-20250219' }, 'model_retired', /retired .* on 2026-02-19/],
  ['no max_tokens', { max_tokens: undefined }, 'max_tokens_missing', /--max-tokens/],
  ['max_tokens 0', { max_tokens: 0 }, 'max_tokens_invalid', /positive/],
  ['max_tokens 1.5', { max_tokens: 1.5 }, 'max_tokens_invalid', /positive integer/],
  ['max_tokens as text', { max_tokens: '100' }, 'max_tokens_invalid', /positive integer/],
  ['max_tokens over the maximum', { max_tokens: 64_001 }, 'max_tokens_too_large', /64001 is more than claude-haiku-4-5-20251001 can answer, 64000/],
  ['no messages', { messages: undefined }, 'messages_missing', /no messages/],
  ['messages that are text', { messages: 'Hello' }, 'messages_invalid', /array/],
  ['no message in messages', { messages: [] }, 'messages_invalid', /empty/],
  ['a message that is text', { messages: ['Hello'] }, 'messages_invalid', /messages\.0 must be an object/],
  ['a role that does not exist', { messages: [{ role: 'tool', content: 'x' }] }, 'role_invalid', /messages\.0\.role is "tool"/],
  ['no role', { messages: [{ content: 'x' }] }, 'role_invalid', /missing/],
  ['a system message at the start', { messages: [{ role: 'system', content: 'x' }] }, 'role_invalid', /params\.system/],
  ['no content', { messages: [{ role: 'user' }] }, 'messages_invalid', /content must be/],
  ['empty content', { messages: [{ role: 'user', content: '' }] }, 'messages_invalid', /content is empty/],
  ['a block without a type', { messages: [{ role: 'user', content: [{ text: 'x' }] }] }, 'messages_invalid', /messages\.0\.content\.0/],
  ['stream', { stream: true }, 'param_refused', /does not stream/],
  ['fast mode', { speed: 'fast' }, 'param_refused', /fast mode/],
  ['store', { store: true }, 'param_refused', /stores nothing/],
  ['a cache hint', { cache_hint: {} }, 'param_refused', /hints/],
  ['fallbacks', { fallbacks: [] }, 'param_refused', /fallbacks/],
  ['a research preview', { research_preview_2026_02: 'active' }, 'param_refused', /research_preview/],
  ['betas', { betas: ['x'] }, 'param_refused', /header/],
  ['a mistyped parameter', { max_token: 5 }, 'param_unknown', /did you mean "max_tokens"/],
  ['a parameter named like a method', { toString: 1 }, 'param_unknown', /toString/],
  ['temperature', { temperature: 0.2 }, 'sampling_refused', /anthropic\.version/],
  ['top_p', { top_p: 0.2 }, 'sampling_refused', /top_p/],
  ['top_k', { top_k: 2 }, 'sampling_refused', /top_k/],
  ['a document in an assistant turn', { messages: [...good.messages, { role: 'assistant', content: [{ type: 'document', source: {} }] }] }, 'content_refused', /messages\.1\.content\.0/],
  ['citations on user text', { messages: [{ role: 'user', content: [{ type: 'text', text: 'x', citations: [{}] }] }] }, 'content_refused', /citations/],
  ['a thinking budget under 1,024', { thinking: { type: 'enabled', budget_tokens: 1_000 } }, 'thinking_invalid', /1024/],
  ['a thinking budget of max_tokens', { max_tokens: 2_000, thinking: { type: 'enabled', budget_tokens: 2_000 } }, 'thinking_invalid', /less than max_tokens/],
  ['a thinking budget on a newer model', { model: 'claude-sonnet-5', thinking: { type: 'enabled', budget_tokens: 2_000 } }, 'thinking_invalid', /adaptive/],
  ['tools that are no list', { tools: {} }, 'param_invalid', /tools/],
  ['a choice of a tool that is not there', { tools: [{ name: 'a' }], tool_choice: { type: 'tool', name: 'b' } }, 'tool_choice_invalid', /"b"/],
  ['stop sequences that are no texts', { stop_sequences: [7] }, 'param_invalid', /stop_sequences/],
  ['metadata that is text', { metadata: 'x' }, 'param_invalid', /beside the params/],
  ['a system that is a number', { system: 7 }, 'param_invalid', /system/],
];

test.each(refused)('refuses %s', (_name, changes, code, message) => {
  const validation = validate(changes);
  if (validation.kind !== 'fault') throw new Error('it was accepted');
  expect(validation.fault.code).toBe(code);
  expect(validation.fault.problem).toMatch(message);
});

test.each([
  ['the plain request', {}],
  ['an alias and a dated id', { model: 'claude-haiku-4-5-20251001' }],
  ['the highest max_tokens', { max_tokens: 64_000 }],
  ['stream: false', { stream: false }],
  ['a research preview that is off', { research_preview_2026_02: 'inactive' }],
  ['the standard speed', { speed: 'standard' }],
  ['a system message in the middle', { messages: [...good.messages, { role: 'assistant', content: 'x' }, { role: 'system', content: 'y' }] }],
  ['a tool choice that is there', { tools: [{ name: 'a' }], tool_choice: { type: 'tool', name: 'a' } }],
  ['adaptive thinking', { model: 'claude-sonnet-5', thinking: { type: 'adaptive' } }],
  ['a thinking budget within bounds', { max_tokens: 3_000, thinking: { type: 'enabled', budget_tokens: 2_000 } }],
])('accepts %s', (_name, changes) => {
  expect(validate(changes).kind).toBe('valid');
});

test('the older API version takes sampling parameters within their range', () => {
  expect(validate({ temperature: 0.5, top_p: 1, top_k: 40 }, '2023-06-01').kind).toBe('valid');
  expect(validate({ temperature: 1.5 }, '2023-06-01')).toMatchObject({ fault: { code: 'param_invalid' } });
  expect(validate({ top_k: 0.5 }, '2023-06-01')).toMatchObject({ fault: { code: 'param_invalid' } });
});

function judge(params: Record<string, unknown>, classes = settingsIn('/nowhere').contextClasses) {
  const intake = new Intake('in.jsonl', { ...intakeRules(settingsIn('/nowhere')), contextClasses: classes });
  const bytes = Buffer.from(JSON.stringify({ id: 'a', params: { ...good, ...params } }));
  return intake.judge({ row: 1, byteOffset: 0, bytes, sizeBytes: bytes.length });
}

test('the context class is chosen by the upper bound of input and answer together', () => {
  expect(judge({})).toMatchObject({ segment: 'docs.8k.normal' });
  expect(judge({ max_tokens: 8_000 })).toMatchObject({ segment: 'docs.64k.normal' });
  expect(judge({ messages: [{ role: 'user', content: 'x'.repeat(70_000) }] })).toMatchObject({ segment: 'docs.200k.normal' });
});

test('a request is never larger than the window of its model, whatever its bytes say', () => {
  expect(judge({ max_tokens: 64_000, messages: [{ role: 'user', content: 'x'.repeat(900_000) }] })).toMatchObject({ segment: 'docs.200k.normal' });
});

test('a request beyond the largest class is refused with its size', () => {
  const verdict = judge({ messages: [{ role: 'user', content: 'x'.repeat(10_000) }] }, [{ name: '8k', tokensMax: 8_000 }]);
  expect(verdict).toMatchObject({ kind: 'rejected', fault: { code: 'context_too_large' } });
});

test('a request whose cost nobody can bound is refused, because no budget could hold it', () => {
  expect(judge({ tools: [{ type: 'web_search_20260318', name: 'web_search' }] })).toMatchObject({ kind: 'rejected', fault: { code: 'bound_unknown' } });
});

test('a line that is too long is refused without being read', () => {
  const intake = new Intake('in.jsonl', intakeRules(settingsIn('/nowhere')));
  expect(intake.judge({ row: 1, byteOffset: 0, bytes: Buffer.from('{"id"'), sizeBytes: 32_000_001 })).toMatchObject({ fault: { code: 'line_too_long' } });
});

test('a refused line does not claim its id', () => {
  const intake = new Intake('in.jsonl', intakeRules(settingsIn('/nowhere')));
  const read = (row: number, params: unknown) => {
    const bytes = Buffer.from(JSON.stringify({ id: 'a', params }));
    return intake.judge({ row, byteOffset: 0, bytes, sizeBytes: bytes.length });
  };
  expect([read(1, {}).kind, read(2, good).kind]).toEqual(['rejected', 'prompt']);
  expect(read(3, good)).toMatchObject({ fault: { code: 'id_duplicate', problem: 'line 2 has the same id' } });
});
