import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isList, isObject, listOf, numberOf, parseJson, textOf, type JsonObject } from './shape.ts';

/**
 * Answers of the user's own, from a JSON file or a module.
 *
 * A file lists rules; the first whose `match` (a regular expression over the text of the last user turn) and `custom_id` (the same over the
 * id, batches only) both fit gives the answer:
 *
 *   {"answers": [{"match": "invoice", "text": "{\"total\": 12}"}, {"custom_id": "^bad-", "error": {"type": "api_error", "message": "…"}}]}
 *
 * A module exports `answer(request)`, which returns a text, an `Answer`, or undefined for the usual answer. It may be asynchronous.
 */

/** What an answer function is asked. */
export interface AnswerRequest {
  /** The request's params as sent. */
  readonly params: JsonObject;
  /** Text of the last user turn. */
  readonly prompt: string;
  /** The resolved model id. */
  readonly model: string;
  readonly customId: string | undefined;
  readonly batchId: string | undefined;
  readonly seed: number;
}

/** An answer; what is absent is filled in as usual. */
export interface Answer {
  readonly text?: string;
  /** Whole content blocks instead of a text. */
  readonly content?: readonly JsonObject[];
  readonly stopReason?: string;
  readonly outputTokens?: number;
  /** Fails the row, or the call, with this error. */
  readonly error?: { readonly type: string; readonly message: string };
}

/**
 * What an answer function gave, if it has the shape of an answer. A module is not type-checked, so another shape is told as the error of
 * its row: `{text: {total: 12}}` would fail deep in the simulator, and every other row of its batch with it.
 */
export function answerOf(given: unknown): Answer | undefined {
  if (given === undefined) {
    return undefined;
  }
  if (typeof given === 'string') {
    return { text: given };
  }
  const wrong = isObject(given) ? wrongField(given) : 'an answer has to be a text, an object or undefined';
  return wrong === undefined && isObject(given) ? decoded(given) : { error: { type: 'api_error', message: `The answers module gave no answer: ${wrong ?? ''}.` } };
}

function wrongField(given: JsonObject): string | undefined {
  const { text, content, stopReason, outputTokens, error } = given;
  if (text !== undefined && typeof text !== 'string') {
    return 'text has to be a string';
  }
  if (content !== undefined && !(isList(content) && content.every(isObject))) {
    return 'content has to be a list of blocks';
  }
  if (stopReason !== undefined && typeof stopReason !== 'string') {
    return 'stopReason has to be a string';
  }
  if (outputTokens !== undefined && !(typeof outputTokens === 'number' && Number.isInteger(outputTokens) && outputTokens >= 0)) {
    return 'outputTokens has to be a whole number';
  }
  const isError = error === undefined || (isObject(error) && typeof error.type === 'string' && typeof error.message === 'string');
  return isError ? undefined : 'error has to be an object with type and message';
}

/** The fields of an answer whose shape was looked at, as JSON will say them: what cannot be said in JSON throws here and not in a batch. */
function decoded(given: JsonObject): Answer {
  const { text, content, stopReason, outputTokens, error } = given;
  return decodeAnswer({ text, content: content === undefined ? undefined : parseJson(JSON.stringify(content)), stop_reason: stopReason, output_tokens: outputTokens, error });
}

export type AnswerFunction = (request: AnswerRequest) => Answer | string | undefined | Promise<Answer | string | undefined>;

/** Loads answers from a `.json` file or a module. Throws an Error with one clear line when that is not possible. */
export async function loadAnswers(path: string): Promise<AnswerFunction> {
  return extname(path) === '.json' ? answersOfRules(await readRules(path), path) : await importAnswers(path);
}

async function importAnswers(path: string): Promise<AnswerFunction> {
  let loaded: unknown;
  try {
    loaded = await import(pathToFileURL(resolve(path)).href);
  } catch (cause) {
    const what = existsSync(path) ? firstLine(cause) : 'there is no such file. Name a .json file, or a module that exports answer(request).';
    throw new Error(`The answers module ${path} cannot be loaded: ${what}`);
  }
  const found = isObject(loaded) ? (loaded.answer ?? loaded.default) : undefined;
  if (!isAnswerFunction(found)) {
    throw new Error(`The answers module ${path} exports no function named "answer".`);
  }
  return found;
}

function isAnswerFunction(value: unknown): value is AnswerFunction {
  return typeof value === 'function';
}

async function readRules(path: string): Promise<readonly unknown[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new Error(`The answers file ${path} cannot be read: ${firstLine(cause)}`);
  }
  const value = parseJson(text);
  if (!isObject(value) || !Array.isArray(value.answers)) {
    throw new Error(`The answers file ${path} has to be a JSON object with a list "answers".`);
  }
  return value.answers;
}

interface Rule {
  readonly match: RegExp | undefined;
  readonly customId: RegExp | undefined;
  readonly answer: Answer;
}

function answersOfRules(values: readonly unknown[], path: string): AnswerFunction {
  const rules = values.map((value, index) => decodeRule(value, `${path}, answers[${index}]`));
  return (request) =>
    rules.find((rule) => (rule.match?.test(request.prompt) ?? true) && (rule.customId?.test(request.customId ?? '') ?? true))?.answer;
}

function decodeRule(value: unknown, where: string): Rule {
  if (!isObject(value)) {
    throw new Error(`${where}: has to be an object with "match" or "custom_id" and an answer.`);
  }
  return { match: expression(value.match, `${where}.match`), customId: expression(value.custom_id, `${where}.custom_id`), answer: decodeAnswer(value) };
}

function expression(value: unknown, where: string): RegExp | undefined {
  if (value === undefined) {
    return undefined;
  }
  try {
    return new RegExp(textOf(value) ?? '(', 'u');
  } catch {
    throw new Error(`${where}: ${JSON.stringify(value)} is not a regular expression.`);
  }
}

/** Accepts the snake_case of files. */
function decodeAnswer(value: JsonObject): Answer {
  const text = textOf(value.text);
  const stopReason = textOf(value.stop_reason);
  const outputTokens = numberOf(value.output_tokens);
  const error = isObject(value.error) ? { type: textOf(value.error.type) ?? 'api_error', message: textOf(value.error.message) ?? '' } : undefined;
  return {
    ...(text === undefined ? {} : { text }),
    ...(Array.isArray(value.content) ? { content: listOf(value.content).filter(isObject) } : {}),
    ...(stopReason === undefined ? {} : { stopReason }),
    ...(outputTokens === undefined ? {} : { outputTokens }),
    ...(error === undefined ? {} : { error }),
  };
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0] ?? '';
}
