import { isObject, listOf, textOf, type JsonObject } from './shape.ts';

/**
 * Turns the `params` of a request into the row of blocks the model would read, in the order in which prompts are cached: tools, system,
 * messages (claude-batches.md 5). Counting, caching and answering all walk this one list, so they cannot disagree about what the prompt is.
 */

/** How long a cached prefix lives. */
export type CacheLife = '5m' | '1h';

export interface PromptBlock {
  readonly place: 'tool' | 'system' | 'message';
  /** Text the tokenizer sees; empty for pictures and files. */
  readonly text: string;
  /** A picture or PDF, as sent. */
  readonly media: Media | undefined;
  readonly cache: CacheLife | undefined;
}

export interface Media {
  readonly kind: 'image' | 'pdf';
  /** `base64`, `url` or `file`. */
  readonly source: string;
  /** Base-64 text or the address. */
  readonly data: string;
}

/** The blocks of a request. Tolerates any shape: what cannot be read contributes nothing, because validation has spoken before. */
export function promptBlocks(params: JsonObject): PromptBlock[] {
  const blocks: PromptBlock[] = [];
  for (const tool of listOf(params.tools)) {
    if (isObject(tool)) {
      const { cache_control: _control, ...definition } = tool;
      blocks.push({ place: 'tool', text: JSON.stringify(definition), media: undefined, cache: lifeOf(tool) });
    }
  }
  addContent(blocks, 'system', params.system);
  for (const message of listOf(params.messages)) {
    if (isObject(message)) {
      addContent(blocks, 'message', message.content);
    }
  }
  return isObject(params.cache_control) ? markLast(blocks, lifeOf(params)) : blocks;
}

/** A top-level `cache_control` marks the last block that can carry one. */
function markLast(blocks: PromptBlock[], life: CacheLife | undefined): PromptBlock[] {
  const last = blocks.pop();
  if (last !== undefined) {
    blocks.push({ ...last, cache: last.cache ?? life });
  }
  return blocks;
}

function addContent(blocks: PromptBlock[], place: PromptBlock['place'], content: unknown): void {
  if (typeof content === 'string') {
    blocks.push({ place, text: content, media: undefined, cache: undefined });
    return;
  }
  for (const item of listOf(content)) {
    if (isObject(item)) {
      addBlock(blocks, place, item);
    }
  }
}

function addBlock(blocks: PromptBlock[], place: PromptBlock['place'], item: JsonObject): void {
  const cache = lifeOf(item);
  const plain = (text: string): void => {
    blocks.push({ place, text, media: undefined, cache });
  };
  switch (item.type) {
    case 'text':
      plain(textOf(item.text) ?? '');
      return;
    case 'image':
      blocks.push({ place, text: '', media: mediaOf('image', item.source), cache });
      return;
    case 'document':
      addDocument(blocks, place, item);
      return;
    case 'tool_use':
      plain(`${textOf(item.name) ?? ''}${JSON.stringify(item.input ?? {})}`);
      return;
    case 'tool_result':
      addContent(blocks, place, item.content);
      plain('');
      return;
    case 'search_result':
      plain(`${textOf(item.source) ?? ''}${textOf(item.title) ?? ''}`);
      addContent(blocks, place, item.content);
      return;
    case 'thinking':
    case 'redacted_thinking':
      return;
    default: {
      const { cache_control: _control, ...rest } = item;
      plain(JSON.stringify(rest));
    }
  }
}

function addDocument(blocks: PromptBlock[], place: PromptBlock['place'], item: JsonObject): void {
  const cache = lifeOf(item);
  const source = isObject(item.source) ? item.source : {};
  const heading = `${textOf(item.title) ?? ''}${textOf(item.context) ?? ''}`;
  if (source.type === 'text') {
    blocks.push({ place, text: heading + (textOf(source.data) ?? ''), media: undefined, cache });
  } else if (source.type === 'content') {
    addContent(blocks, place, source.content);
    blocks.push({ place, text: heading, media: undefined, cache });
  } else {
    blocks.push({ place, text: heading, media: mediaOf('pdf', source), cache });
  }
}

function mediaOf(kind: Media['kind'], source: unknown): Media {
  const fields = isObject(source) ? source : {};
  return { kind, source: textOf(fields.type) ?? '', data: textOf(fields.data) ?? textOf(fields.url) ?? textOf(fields.file_id) ?? '' };
}

function lifeOf(holder: JsonObject): CacheLife | undefined {
  if (!isObject(holder.cache_control)) {
    return undefined;
  }
  return holder.cache_control.ttl === '1h' ? '1h' : '5m';
}
