/**
 * The rules for `messages` and `system`: roles, emptiness, and the content blocks that an API version refuses. Indices
 * in a message are the provider's own way of naming a place, `messages.3.content.0`.
 */
import { fault, quoted } from './faults.ts';
import type { Fault } from './faults.ts';
import { fromLatin1 } from './scan.ts';
import type { AnthropicVersion } from './validate.ts';

/** `system` among the messages steers a running conversation, so it cannot be the first one. */
const roles = ['user', 'assistant', 'system'] as const;

/** Checks that there are messages, that each has a role and content, and that the first is not a system message. */
export function checkMessages(messages: unknown): Fault | undefined {
  if (messages === undefined) return fault('messages_missing', 'no messages are given');
  if (!Array.isArray(messages)) return fault('messages_invalid', 'messages must be an array');
  if (messages.length === 0) return fault('messages_invalid', 'messages is empty; at least one is needed');
  for (const [index, message] of messages.entries()) {
    const found = checkMessage(message, index);
    if (found) return found;
  }
  return undefined;
}

function checkMessage(message: unknown, index: number): Fault | undefined {
  const place = `messages.${index}`;
  if (!isObject(message)) return fault('messages_invalid', `${place} must be an object with role and content`);
  const role = message['role'];
  if (!roles.some((known) => known === role)) {
    const shown = typeof role === 'string' ? quoted(fromLatin1(role)) : 'missing';
    return fault('role_invalid', `${place}.role is ${shown}; it must be "user" or "assistant"`);
  }
  if (role === 'system' && index === 0) {
    return fault('role_invalid', `${place}.role is "system"; the instruction of a request belongs into params.system`);
  }
  const content = message['content'];
  if (typeof content !== 'string' && !Array.isArray(content)) {
    return fault('messages_invalid', `${place}.content must be a string or an array of content blocks`);
  }
  if (content.length === 0 && role === 'user') return fault('messages_invalid', `${place}.content is empty`);
  return undefined;
}

/** Checks the content blocks: each is an object with a type, and none is of a kind that the API version refuses. */
export function checkContents(messages: unknown, system: unknown, version: AnthropicVersion): Fault | undefined {
  if (system !== undefined && system !== null && typeof system !== 'string' && !Array.isArray(system)) {
    return fault('param_invalid', 'system must be a string or an array of text blocks');
  }
  if (!Array.isArray(messages)) return undefined;
  for (const [index, message] of messages.entries()) {
    const content: unknown = isObject(message) ? message['content'] : undefined;
    if (!isObject(message) || !Array.isArray(content)) continue;
    for (const [at, block] of content.entries()) {
      const place = `messages.${index}.content.${at}`;
      if (!isObject(block) || typeof block['type'] !== 'string') return fault('messages_invalid', `${place} must be an object with a type`);
      const refused = version === '2026-10-21' ? refusedBlock(block, message['role']) : undefined;
      if (refused !== undefined) return fault('content_refused', `${place}: API version 2026-10-21 refuses ${refused}`);
    }
  }
  return undefined;
}

/** What API version 2026-10-21 no longer takes (claude-batches.md 1.1). */
function refusedBlock(block: Readonly<Record<string, unknown>>, role: unknown): string | undefined {
  if (role === 'assistant' && block['type'] === 'document') return 'documents in assistant turns';
  if (role === 'user' && block['type'] === 'text' && Array.isArray(block['citations']) && block['citations'].length > 0) return 'citations on user text';
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
