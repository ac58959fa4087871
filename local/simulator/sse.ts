import type { Exchange, Reply } from './exchange.ts';
import { refusalBody, refusalOfStatus } from './refusal.ts';
import { isObject, listOf, textOf, type JsonObject } from './shape.ts';

/**
 * A message as server-sent events: message_start, then per block start, deltas and stop, then message_delta with the reason and the final
 * usage, then message_stop. The events add up to the message that the unstreamed call would have returned.
 */
export function streamMessage(exchange: Exchange, message: JsonObject): Reply {
  return {
    kind: 'stream',
    status: 200,
    headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' },
    pieces: pieces(exchange, message),
  };
}

async function* pieces(exchange: Exchange, message: JsonObject): AsyncGenerator<string, 'end' | 'abort'> {
  const { faults, requestId } = exchange;
  const broken = faults.take('stream_error');
  const cut = broken === undefined ? faults.take('stream_cut') : undefined;
  const usage = isObject(message.usage) ? message.usage : {};
  const begun = { ...message, content: [], stop_reason: null, stop_sequence: null, usage: { ...usage, output_tokens: 1 } };
  yield event('message_start', { message: begun });
  yield event('ping', {});
  if (broken !== undefined) {
    const refusal = refusalOfStatus(broken.status ?? 529);
    yield `event: error\ndata: ${refusalBody({ ...refusal, type: broken.error_type ?? refusal.type }, requestId)}\n\n`;
    return 'end';
  }
  for (const [index, block] of listOf(message.content).entries()) {
    for (const piece of isObject(block) ? blockEvents(block, index) : []) {
      yield piece;
      if (cut !== undefined) {
        return 'abort';
      }
    }
  }
  const { stop_reason, stop_sequence, stop_details } = message;
  const delta = { stop_reason, stop_sequence, ...(stop_details === undefined ? {} : { stop_details }) };
  yield event('message_delta', { delta, usage: { ...usage } });
  yield event('message_stop', {});
  return 'end';
}

function* blockEvents(block: JsonObject, index: number): Generator<string> {
  yield event('content_block_start', { index, content_block: emptied(block) });
  for (const delta of deltas(block)) {
    yield event('content_block_delta', { index, delta });
  }
  yield event('content_block_stop', { index });
}

/** The block as it begins, before any delta. */
function emptied(block: JsonObject): JsonObject {
  switch (block.type) {
    case 'text':
      return { ...block, text: '' };
    case 'thinking':
      return { ...block, thinking: '', signature: '' };
    case 'tool_use':
      return { ...block, input: {} };
    default:
      return block;
  }
}

function* deltas(block: JsonObject): Generator<JsonObject> {
  if (block.type === 'text') {
    for (const text of portions(textOf(block.text) ?? '')) {
      yield { type: 'text_delta', text };
    }
  } else if (block.type === 'thinking') {
    for (const thinking of portions(textOf(block.thinking) ?? '')) {
      yield { type: 'thinking_delta', thinking };
    }
    yield { type: 'signature_delta', signature: block.signature };
  } else if (block.type === 'tool_use') {
    for (const part of portions(JSON.stringify(block.input ?? {}))) {
      yield { type: 'input_json_delta', partial_json: part };
    }
  }
}

/** Portions of about 40 characters, cut where no surrogate pair is. */
function* portions(text: string): Generator<string> {
  const characters = [...text];
  for (let at = 0; at < characters.length; at += 40) {
    yield characters.slice(at, at + 40).join('');
  }
}

function event(type: string, fields: JsonObject): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
}
