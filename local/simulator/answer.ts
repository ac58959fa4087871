import type { Answer } from './answersource.ts';
import type { ModelEntry } from './modeltable.ts';
import { valueFor } from './schema.ts';
import { cutText, writeText, type WrittenText } from './sentences.ts';
import { identifier } from './seeded.ts';
import { isObject, listOf, numberOf, textOf, type JsonObject } from './shape.ts';
import { textTokens } from './tokens.ts';

/** What the model says: content, the reason it stopped, and how many tokens that took. A pure function of params, prompt digest and seed. */

export interface Composed {
  readonly content: readonly JsonObject[];
  readonly stopReason: string;
  readonly stopSequence: string | null;
  readonly outputTokens: number;
  readonly thinkingTokens: number;
  readonly stopDetails: JsonObject | undefined;
}

export interface AnswerQuestion {
  readonly params: JsonObject;
  readonly model: ModelEntry;
  readonly promptTokens: number;
  /** Text of the last user turn. */
  readonly prompt: string;
  /** Numbers in [0, 1), seeded from the prompt. */
  readonly next: () => number;
  readonly seed: number;
  readonly label: string;
  /** A fault that decides how this answer ends. */
  readonly forced: 'refusal' | 'max_tokens' | undefined;
  /** The user's own answer. */
  readonly own: Answer | undefined;
}

/** The documented test string that makes every model refuse. */
const REFUSAL_TRIGGER = 'ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL';

/** Composes the answer. */
export function composeAnswer(question: AnswerQuestion): Composed {
  const most = numberOf(question.params.max_tokens) ?? 0;
  if (question.forced === 'refusal' || question.prompt.includes(REFUSAL_TRIGGER)) {
    const stopDetails = { type: 'refusal', category: null, explanation: null };
    return { content: [], stopReason: 'refusal', stopSequence: null, outputTokens: 1, thinkingTokens: 0, stopDetails };
  }
  if (question.own?.content !== undefined) {
    return composeOwn(question, question.own.content);
  }
  const thinking = composeThinking(question, most);
  const left = Math.max(0, most - thinking.tokens);
  const tool = question.own === undefined ? forcedTool(question.params, question.next) : undefined;
  const said = tool === undefined ? composeText(question, left) : composeToolUse(question, tool, left);
  return {
    content: [...thinking.content, ...said.content],
    stopReason: question.own?.stopReason ?? said.stopReason,
    stopSequence: said.stopSequence,
    outputTokens: question.own?.outputTokens ?? thinking.tokens + said.tokens,
    thinkingTokens: thinking.tokens,
    stopDetails: undefined,
  };
}

interface Said {
  readonly content: readonly JsonObject[];
  readonly stopReason: string;
  readonly stopSequence: string | null;
  readonly tokens: number;
}

function composeOwn(question: AnswerQuestion, content: readonly JsonObject[]): Composed {
  const hasTool = content.some((block) => block.type === 'tool_use');
  return {
    content,
    stopReason: question.own?.stopReason ?? (hasTool ? 'tool_use' : 'end_turn'),
    stopSequence: null,
    outputTokens: question.own?.outputTokens ?? Math.max(1, textTokens(JSON.stringify(content), question.model, 'plausible')),
    thinkingTokens: 0,
    stopDetails: undefined,
  };
}

/** A thinking block where thinking is on; a third of the room at most, and never more than the budget. */
function composeThinking(question: AnswerQuestion, most: number): { readonly content: readonly JsonObject[]; readonly tokens: number } {
  const { thinking } = question.params;
  if (!isObject(thinking) || (thinking.type !== 'enabled' && thinking.type !== 'adaptive') || question.own !== undefined) {
    return { content: [], tokens: 0 };
  }
  const room = Math.min(Math.floor(most / 3), numberOf(thinking.budget_tokens) ?? most, 400);
  const text = cutText(writeText(Math.max(12, Math.floor(room * question.next())), question.model, question.next).text, room, question.model);
  const signature = identifier('', 32, question.seed, 'signature', question.label);
  const shown = thinking.display === 'omitted' ? '' : text;
  return { content: [{ type: 'thinking', thinking: shown, signature }], tokens: textTokens(text, question.model, 'plausible') };
}

/** The tool that has to be called, if the choice leaves no other way. */
function forcedTool(params: JsonObject, next: () => number): JsonObject | undefined {
  const tools = listOf(params.tools).filter(isObject);
  const choice = isObject(params.tool_choice) ? params.tool_choice : {};
  if (choice.type === 'tool') {
    return tools.find((tool) => tool.name === choice.name);
  }
  return choice.type === 'any' ? tools[Math.floor(next() * tools.length)] : undefined;
}

function composeToolUse(question: AnswerQuestion, tool: JsonObject, most: number): Said {
  const input = valueFor(tool.input_schema ?? { type: 'object' }, question.next);
  const needed = 20 + textTokens(JSON.stringify(input), question.model, 'plausible');
  const isCut = needed > most || question.forced === 'max_tokens';
  const block = {
    type: 'tool_use',
    id: identifier('toolu_01', 22, question.seed, 'tool', question.label),
    name: textOf(tool.name) ?? '',
    input: isCut ? {} : input,
    ...(question.model.generation >= 50 ? { caller: { type: 'direct' } } : {}),
  };
  return { content: [block], stopReason: isCut ? 'max_tokens' : 'tool_use', stopSequence: null, tokens: isCut ? most : needed };
}

function composeText(question: AnswerQuestion, most: number): Said {
  const count = (text: string): WrittenText => ({ text, tokens: textTokens(text, question.model, 'plausible') });
  const whole = question.own?.text === undefined ? defaultText(question, most) : count(question.own.text);
  const stop = firstStop(whole.text, listOf(question.params.stop_sequences));
  const { text, tokens: counted } = stop === undefined ? whole : count(whole.text.slice(0, stop.at));
  const tokens = Math.max(1, counted);
  if (question.forced === 'max_tokens' || tokens > most) {
    const limit = Math.min(most, question.forced === 'max_tokens' ? Math.max(1, Math.floor(tokens / 2)) : most);
    const cut = cutText(text, limit, question.model);
    return { content: most === 0 ? [] : [{ type: 'text', text: cut }], stopReason: 'max_tokens', stopSequence: null, tokens: most };
  }
  const content = text === '' ? [] : [{ type: 'text', text }];
  return { content, stopReason: stop === undefined ? 'end_turn' : 'stop_sequence', stopSequence: stop?.sequence ?? null, tokens };
}

/** Length grows with the prompt, slower than it; about one answer in sixteen wants more than a tight `max_tokens` allows. */
function defaultText(question: AnswerQuestion, most: number): WrittenText {
  const { params, model, next } = question;
  const format = isObject(params.output_config) && isObject(params.output_config.format) ? params.output_config.format : undefined;
  if (format !== undefined) {
    const text = JSON.stringify(valueFor(format.schema, next));
    return { text, tokens: textTokens(text, model, 'plausible') };
  }
  const wished = Math.min(1_500, 24 + Math.pow(question.promptTokens, 0.75) * (0.5 + next()));
  return writeText(Math.min(wished, Math.ceil(most * (0.25 + 0.8 * next()))), model, next);
}

function firstStop(text: string, sequences: readonly unknown[]): { readonly at: number; readonly sequence: string } | undefined {
  let found: { readonly at: number; readonly sequence: string } | undefined;
  for (const sequence of sequences) {
    const at = typeof sequence === 'string' && sequence !== '' ? text.indexOf(sequence) : -1;
    if (typeof sequence === 'string' && at >= 0 && (found === undefined || at < found.at)) {
      found = { at, sequence };
    }
  }
  return found;
}
