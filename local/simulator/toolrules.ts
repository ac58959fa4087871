import { invalidRequest, type Refusal } from './refusal.ts';
import { isObject, listOf, textOf, type JsonObject } from './shape.ts';

/** The rules about `tools`, `tool_choice` and the requested output format (claude-batches.md 1.5). */

const COMMON = ['name', 'type', 'cache_control', 'strict', 'defer_loading', 'allowed_callers'];
const CUSTOM_FIELDS = new Set([...COMMON, 'description', 'input_schema', 'input_examples', 'eager_input_streaming']);
const SERVICE_FIELDS = new Set([
  ...COMMON, 'max_uses', 'allowed_domains', 'blocked_domains', 'user_location', 'citations', 'max_content_tokens', 'url_sources', 'use_cache',
  'response_inclusion', 'input_examples', 'max_characters', 'configs', 'display_width_px', 'display_height_px', 'display_number', 'enable_zoom',
]);

/** Checks tools, the choice among them and the output format; the first fault is told. */
export function checkTools(params: JsonObject): Refusal | undefined {
  const tools = listOf(params.tools);
  for (const [index, tool] of tools.entries()) {
    const refusal = checkTool(tool, index);
    if (refusal !== undefined) {
      return refusal;
    }
  }
  return checkChoice(params.tool_choice, tools) ?? checkFormat(params.output_config);
}

function checkTool(tool: unknown, index: number): Refusal | undefined {
  if (!isObject(tool)) {
    return invalidRequest(`tools.${index}: Input should be a valid dictionary`);
  }
  const type = textOf(tool.type) ?? 'custom';
  const fields = type === 'custom' ? CUSTOM_FIELDS : SERVICE_FIELDS;
  const extra = Object.keys(tool).find((key) => !fields.has(key));
  if (extra !== undefined) {
    return invalidRequest(`tools.${index}.${type}.${extra}: Extra inputs are not permitted`);
  }
  if (type !== 'custom') {
    return undefined;
  }
  if (typeof tool.name !== 'string') {
    return invalidRequest(`tools.${index}.custom.name: Field required`);
  }
  if (!/^[a-zA-Z0-9_-]{1,128}$/.test(tool.name)) {
    return invalidRequest(`tools.${index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'`);
  }
  return isObject(tool.input_schema) ? undefined : invalidRequest(`tools.${index}.custom.input_schema: Field required`);
}

function checkChoice(choice: unknown, tools: readonly unknown[]): Refusal | undefined {
  if (!isObject(choice)) {
    return undefined;
  }
  if (tools.length === 0 && choice.type !== 'none') {
    return invalidRequest('tool_choice: may only be specified while providing tools');
  }
  const named = textOf(choice.name) ?? '';
  const isThere = tools.some((tool) => isObject(tool) && tool.name === named);
  return choice.type === 'tool' && !isThere ? invalidRequest(`Tool '${named}' not found in provided tools`) : undefined;
}

function checkFormat(config: unknown): Refusal | undefined {
  if (!isObject(config) || config.format === undefined || config.format === null) {
    return undefined;
  }
  if (!isObject(config.format) || config.format.type !== 'json_schema') {
    return invalidRequest("output_config.format.type: Input should be 'json_schema'");
  }
  return isObject(config.format.schema) ? undefined : invalidRequest('output_config.format.schema: Field required');
}
