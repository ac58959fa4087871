import { pictureSize, pdfPages } from './media.ts';
import type { ModelEntry } from './modeltable.ts';
import { invalidRequest, type Refusal } from './refusal.ts';
import { isList, isObject, listOf, textOf, type JsonObject } from './shape.ts';

/** The rules about messages and their blocks: roles, last turn, pictures, files, cache markers (claude-batches.md 1.1, 1.5, 4.4, 5). */

const VERSION_2026 = '2026-10-21';
const BLOCK_TYPES = new Set([
  'text', 'image', 'document', 'tool_use', 'tool_result', 'thinking', 'redacted_thinking', 'search_result', 'server_tool_use',
  'web_search_tool_result', 'web_fetch_tool_result', 'code_execution_tool_result', 'bash_code_execution_tool_result',
  'text_editor_code_execution_tool_result', 'tool_search_tool_result', 'container_upload', 'mcp_tool_use', 'mcp_tool_result', 'compaction',
]);
const PICTURE_SIDE_MAX = 8_000;
const PICTURE_BASE64_MAX = 10_485_760;

interface Tally {
  pictures: number;
  pages: number;
  cacheMarks: number;
  fiveMinutesSeen: boolean;
}

/** Checks system and messages; the first fault is told. */
export function checkContent(params: JsonObject, model: ModelEntry, apiVersion: string): Refusal | undefined {
  const tally: Tally = { pictures: 0, pages: 0, cacheMarks: 0, fiveMinutesSeen: false };
  for (const [index, tool] of listOf(params.tools).entries()) {
    const refusal = isObject(tool) ? checkMark(tool, `tools.${index}`, tally) : undefined;
    if (refusal !== undefined) {
      return refusal;
    }
  }
  const system = checkSystem(params.system, tally, model);
  if (system !== undefined) {
    return system;
  }
  const messages = listOf(params.messages);
  for (const [index, message] of messages.entries()) {
    const refusal = checkMessage(message, `messages.${index}`, tally, model, apiVersion);
    if (refusal !== undefined) {
      return refusal;
    }
  }
  const last = messages.at(-1);
  if (isObject(last) && last.role === 'assistant' && model.generation >= 46) {
    return invalidRequest('This model does not support assistant message prefill. The conversation must end with a user message.');
  }
  return checkTopMark(params, last, tally) ?? checkTally(tally, model);
}

/** A top-level mark is one on the last block (claude-batches.md 5), so it counts where that block has none of its own. */
function checkTopMark(params: JsonObject, last: unknown, tally: Tally): Refusal | undefined {
  const block = isObject(last) ? listOf(last.content).at(-1) : undefined;
  const isCounted = !isObject(block) || !isObject(block.cache_control);
  return checkMark(params, '', isCounted ? tally : { ...tally, fiveMinutesSeen: false });
}

function checkTally(tally: Tally, model: ModelEntry): Refusal | undefined {
  const most = model.context <= 200_000 ? 100 : 600;
  if (tally.pictures > most) {
    return invalidRequest(`Too many images and documents: ${tally.pictures} > ${most}`);
  }
  if (tally.pages > most) {
    return invalidRequest(`A maximum of ${most} PDF pages may be provided.`);
  }
  return tally.cacheMarks > 4
    ? invalidRequest(`A maximum of 4 blocks with cache_control may be provided. Found ${tally.cacheMarks}.`)
    : undefined;
}

function checkSystem(system: unknown, tally: Tally, model: ModelEntry): Refusal | undefined {
  if (system === undefined || typeof system === 'string') {
    return undefined;
  }
  if (!isList(system)) {
    return invalidRequest('system: Input should be a valid list');
  }
  for (const [index, block] of system.entries()) {
    const where = `system.${index}`;
    if (!isObject(block) || block.type !== 'text') {
      return invalidRequest(`${where}.type: Input should be 'text'`);
    }
    const refusal = checkBlock(block, where, tally, model);
    if (refusal !== undefined) {
      return refusal;
    }
  }
  return undefined;
}

function checkMessage(message: unknown, where: string, tally: Tally, model: ModelEntry, apiVersion: string): Refusal | undefined {
  if (!isObject(message)) {
    return invalidRequest(`${where}: Input should be a valid dictionary`);
  }
  if (message.role !== 'user' && message.role !== 'assistant') {
    return invalidRequest(message.role === undefined ? `${where}.role: Field required` : `${where}.role: Input should be 'user' or 'assistant'`);
  }
  if (message.content === undefined) {
    return invalidRequest(`${where}.content: Field required`);
  }
  if (typeof message.content === 'string') {
    return message.content.length === 0 && message.role === 'user' ? invalidRequest(`${where}: user messages must have non-empty content`) : undefined;
  }
  if (!isList(message.content)) {
    return invalidRequest(`${where}.content: Input should be a valid list`);
  }
  for (const [index, block] of message.content.entries()) {
    const refusal = checkBlock(block, `${where}.content.${index}`, tally, model) ?? checkByVersion(block, `${where}.content.${index}`, message.role, apiVersion);
    if (refusal !== undefined) {
      return refusal;
    }
  }
  return undefined;
}

/** What API version 2026-10-21 took away (claude-batches.md 1.1). */
function checkByVersion(block: unknown, where: string, role: string, apiVersion: string): Refusal | undefined {
  if (apiVersion < VERSION_2026 || !isObject(block)) {
    return undefined;
  }
  if (role === 'assistant' && block.type === 'document') {
    return invalidRequest(`${where}: document blocks are not permitted in assistant messages`);
  }
  return role === 'user' && block.type === 'text' && listOf(block.citations).length > 0
    ? invalidRequest(`${where}.text.citations: Extra inputs are not permitted`)
    : undefined;
}

function checkBlock(block: unknown, where: string, tally: Tally, model: ModelEntry): Refusal | undefined {
  if (!isObject(block)) {
    return invalidRequest(`${where}: Input should be a valid dictionary`);
  }
  const type = textOf(block.type) ?? '';
  if (!BLOCK_TYPES.has(type)) {
    return invalidRequest(`${where}: Input tag '${type}' found using 'type' does not match any of the expected tags`);
  }
  if (type === 'text') {
    if (typeof block.text !== 'string') {
      return invalidRequest(`${where}.text.text: Field required`);
    }
    if (block.text.length === 0) {
      return invalidRequest(`${where.split('.')[0] ?? where}: text content blocks must be non-empty`);
    }
  }
  const inner = type === 'tool_result' ? listOf(block.content) : [];
  for (const [index, child] of inner.entries()) {
    const refusal = checkBlock(child, `${where}.content.${index}`, tally, model);
    if (refusal !== undefined) {
      return refusal;
    }
  }
  return checkMark(block, where, tally) ?? checkMedia(block, type, where, tally);
}

function checkMark(holder: JsonObject, where: string, tally: Tally): Refusal | undefined {
  const { cache_control: mark } = holder;
  const at = where === '' ? 'cache_control' : `${where}.cache_control`;
  if (!isObject(mark)) {
    return undefined;
  }
  if (mark.type !== 'ephemeral' || (mark.ttl !== undefined && mark.ttl !== '5m' && mark.ttl !== '1h')) {
    return invalidRequest(`${at}: Input should be of type 'ephemeral' with a ttl of '5m' or '1h'`);
  }
  tally.cacheMarks += 1;
  if (mark.ttl !== '1h') {
    tally.fiveMinutesSeen = true;
    return undefined;
  }
  return tally.fiveMinutesSeen
    ? invalidRequest(`${at}.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.`)
    : undefined;
}

function checkMedia(block: JsonObject, type: string, where: string, tally: Tally): Refusal | undefined {
  if ((type !== 'image' && type !== 'document') || !isObject(block.source)) {
    return type === 'image' || type === 'document' ? invalidRequest(`${where}.${type}.source: Field required`) : undefined;
  }
  const { source } = block;
  tally.pictures += type === 'image' ? 1 : 0;
  if (source.type === 'url') {
    return isReachable(textOf(source.url) ?? '') ? undefined : invalidRequest('Unable to download the file. Please verify the URL and try again.');
  }
  if (source.type !== 'base64') {
    return undefined;
  }
  const data = textOf(source.data) ?? '';
  if (type === 'document') {
    tally.pages += pdfPages(Buffer.from(data, 'base64'));
    return undefined;
  }
  return checkPicture(data, `${where}.image.source.base64`);
}

function checkPicture(data: string, where: string): Refusal | undefined {
  if (data.length > PICTURE_BASE64_MAX) {
    return invalidRequest(`${where}: image exceeds 10 MB maximum: ${data.length} bytes > ${PICTURE_BASE64_MAX} bytes`);
  }
  const size = pictureSize(Buffer.from(data, 'base64'));
  if (size === undefined) {
    return invalidRequest('Could not process image');
  }
  if (size.width <= PICTURE_SIDE_MAX && size.height <= PICTURE_SIDE_MAX) {
    return undefined;
  }
  return {
    ...invalidRequest(`${where}.data: At least one of the image dimensions exceed max allowed size: ${PICTURE_SIDE_MAX} pixels`),
    details: { error_code: 'image_dimensions_too_large', max_side_length_pixels: PICTURE_SIDE_MAX, paths: [where] },
  };
}

/** The simulator never opens a connection of its own: reserved names and plain words cannot be reached, every other address is. */
function isReachable(address: string): boolean {
  if (!URL.canParse(address)) {
    return false;
  }
  const { protocol, hostname } = new URL(address);
  return protocol === 'https:' && hostname.includes('.') && !/\.(?:invalid|test|example|localhost)$/.test(hostname);
}
