/**
 * The bound of a request against the bill of the simulated provider, which shares no code with it and bills the most that
 * the reference allows (claude-batches.md 4.3 to 4.5): every kind of content, in requests as users write them.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { priceTable } from '../../config/models.ts';
import { infer, type InferenceWorld } from '../../local/simulator/inference.ts';
import { findModel } from '../../local/simulator/models.ts';
import { PromptCache } from '../../local/simulator/promptcache.ts';
import { estimateParams } from '../../segments/estimate.ts';

const table = priceTable();
const nowMs = Date.UTC(2026, 10, 21);
const models = ['claude-haiku-4-5', 'claude-opus-4-6', 'claude-sonnet-5', 'claude-haiku-5-5'];

const text = fc.string({ unit: fc.oneof(fc.constantFrom('\ufdfa', '½', 'ǆ', '가', 'é', '"', '\\', '\n', '😀'), fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 1 })), minLength: 1, maxLength: 40 });
const marker = fc.option(fc.constantFrom({ cache_control: { type: 'ephemeral', ttl: '1h' } }), { nil: {}, freq: 6 });

/** The head of a PNG, which is all that anybody reads of it. */
function picture(width: number, height: number): string {
  const bytes = Buffer.alloc(64);
  bytes.writeUInt32BE(0x89504e47, 0);
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes.toString('base64');
}

const side = fc.integer({ min: 1, max: 8_000 });
const image = fc.oneof(
  fc.tuple(side, side).map(([width, height]) => ({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: picture(width, height) } })),
  fc.constant({ type: 'image', source: { type: 'url', url: 'https://pictures.plimsoll.dev/a.png' } }),
  fc.constant({ type: 'image', source: { type: 'file', file_id: 'file_1' } }),
);
const pdf = fc.integer({ min: 1, max: 20 }).map((pages) => Buffer.from(`%PDF-1.7 /Type /Pages /Count ${pages}`).toString('base64'));
const document = fc.tuple(fc.oneof(
  pdf.map((data) => ({ type: 'base64', media_type: 'application/pdf', data })),
  fc.constant({ type: 'url', url: 'https://papers.plimsoll.dev/a.pdf' }),
  fc.constant({ type: 'file', file_id: 'file_1' }),
  text.map((data) => ({ type: 'text', media_type: 'text/plain', data })),
  text.map((inner) => ({ type: 'content', content: [{ type: 'text', text: inner }] })),
), text).map(([source, title]) => ({ type: 'document', source, title, citations: { enabled: true } }));
const written = fc.tuple(text, marker).map(([inner, mark]) => ({ type: 'text', text: inner, ...mark }));
const found = fc.tuple(text, text).map(([title, inner]) => ({ type: 'search_result', source: 'archive', title, content: [{ type: 'text', text: inner }] }));
/** What a model reads besides text; most requests have little of it, so that most bounds are not simply the context window. */
const blocks = fc.array(fc.oneof({ weight: 6, arbitrary: written }, { weight: 2, arbitrary: image }, { weight: 1, arbitrary: document }, { weight: 1, arbitrary: found }), { minLength: 1, maxLength: 4 });

/** Numbers that are short as written and long as most programs print them. */
const number = fc.constantFrom(1e20, 1e15, 0.000001, 12, -5e19);
const schema = fc.tuple(text, number, number).map(([description, minimum, maximum]) => ({ type: 'object', properties: { amount: { type: 'number', description, minimum, maximum } } }));
const tool = fc.oneof(
  fc.tuple(schema, text, marker).map(([input, description, mark]) => ({ name: 'book', description, input_schema: input, ...mark })),
  fc.constantFrom(
    { type: 'bash_20250124', name: 'bash' }, { type: 'text_editor_20250728', name: 'str_replace_based_edit_tool' }, { type: 'memory_20250818', name: 'memory' },
    { type: 'computer_20251124', name: 'computer', display_width_px: 1_024, display_height_px: 768 }, { type: 'browser_toolset_20260301', name: 'browser' },
  ),
);
const call = fc.tuple(number, blocks).map(([amount, content]) => [
  { role: 'assistant', content: [{ type: 'thinking', thinking: 'so', signature: 'x' }, { type: 'tool_use', id: 'toolu_1', name: 'book', input: { amount } }] },
  { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content }] },
]);

const request = fc.record({
  model: fc.constantFrom(...models),
  max_tokens: fc.integer({ min: 1_100, max: 8_000 }),
  system: fc.oneof(text, fc.array(written, { minLength: 1, maxLength: 2 })),
  first: fc.oneof(text, blocks),
  calls: fc.array(call, { maxLength: 2 }),
  tools: fc.array(tool, { minLength: 1, maxLength: 2 }),
  tool_choice: fc.constantFrom({ type: 'auto' }, { type: 'any' }),
  output_config: schema.map((inner) => ({ format: { type: 'json_schema', schema: inner } })),
  inference_geo: fc.constantFrom('us', 'global'),
  cache_control: fc.constant({ type: 'ephemeral', ttl: '1h' }),
}, { requiredKeys: ['model', 'max_tokens', 'first', 'calls'] }).chain(({ first, calls, tool_choice, ...rest }) => {
  const thinking = table.find(rest.model)?.tokenizer === 'newer' ? { type: 'adaptive' } : { type: 'enabled', budget_tokens: 1_024 };
  const params = { ...rest, messages: [{ role: 'user', content: first }, ...calls.flat()], ...(rest.tools && tool_choice ? { tool_choice } : {}) };
  return fc.boolean().map((isThinking): Record<string, unknown> => (isThinking ? { ...params, thinking } : params));
});

/** JSON as terse as it may be written: powers of ten by their exponent. `isEscaped`: everything beyond ASCII as `\u`. */
function spelled(params: unknown, isEscaped: boolean): string {
  const terse = JSON.stringify(params).replaceAll(/(?<=[[:,]-?)([1-9])(0{6,})(?=[,}\]])/g, (_, digit: string, zeros: string) => `${digit}e${zeros.length}`).replaceAll('0.000001', '1e-6');
  return isEscaped ? terse.replaceAll(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`) : terse;
}

test('no bill is above its bound, in tokens or in money, whatever a request is made of', async () => {
  let answered = 0;
  let belowWindow = 0;
  await fc.assert(fc.asyncProperty(request, fc.boolean(), async (params, isEscaped) => {
    const model = table.find(String(params['model']));
    const simulated = findModel(String(params['model']), nowMs);
    if (!model || !simulated) throw new Error('both sides know the models');
    const json = spelled(params, isEscaped);
    const sent = JSON.parse(json) as Record<string, unknown>;
    const estimation = estimateParams({ json: Buffer.from(json), params: sent, outputTokensMax: Number(params['max_tokens']), hasEscapes: json.includes('\\u') }, model);
    if (estimation.kind === 'unbounded') throw new Error(`unbounded: ${estimation.what}`);
    const world: InferenceWorld = { seed: 1, billing: 'worst', cache: new PromptCache(1, { together: 0, standing: 0 }), answers: undefined };
    const outcome = await infer(world, { params: sent as never, surface: 'batch', apiVersion: '2026-10-21', betas: [], nowMs, arrivedMs: 0, workspaceId: 'w', label: json, batchId: 'b', customId: 'c', forced: undefined });
    if (outcome.kind === 'refused') return;
    const { billed, costPicoUsd } = outcome;
    const input = billed.input_tokens + billed.cache_creation_input_tokens + billed.cache_read_input_tokens;
    // What does not fit in the window is not answered; the simulator in this mode answers it all the same.
    if (input > model.contextTokensMax) return;
    answered += 1;
    if (estimation.estimate.inputTokensMax < model.contextTokensMax) belowWindow += 1;
    expect(input).toBeLessThanOrEqual(estimation.estimate.inputTokensMax);
    expect(billed.output_tokens).toBeLessThanOrEqual(estimation.estimate.outputTokensMax);
    expect(costPicoUsd).toBeLessThanOrEqual(estimation.estimate.microUsdMax * 1_000_000);
  }), { numRuns: 3_000 });
  // The simulator must have answered, and not only what is bounded by the window.
  expect(answered).toBeGreaterThan(1_500);
  expect(belowWindow).toBeGreaterThan(600);
});
