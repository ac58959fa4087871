/**
 * What editors and newcomers read, made from the schema: the JSON Schema that completes and checks `plimsoll.yaml`, and
 * a `plimsoll.yaml` in which every setting stands as a comment with its default.
 */
import { z } from 'zod';
import { variableOf } from './env.ts';
import { schema } from './schema.ts';
import { notes } from './setting.ts';
import { schemaTree } from './tree.ts';
import type { SchemaNode, Setting } from './tree.ts';

/** The file beside `plimsoll.yaml` that editors take completions from. */
export const schemaFileName = 'plimsoll.schema.json';

/** The JSON Schema (draft 2020-12) of a settings file. Secrets are not in it: they have no place in a file. */
export function jsonSchema(): Readonly<Record<string, unknown>> {
  const document = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ zodSchema, jsonSchema: json }) => {
      if (!(zodSchema instanceof z.ZodObject)) return;
      for (const [name, type] of Object.entries(zodSchema.shape)) {
        if (notes.get(type)?.isSecret) delete json.properties?.[name];
      }
    },
  });
  return { ...document, title: 'plimsoll.yaml' };
}

const commentWidth = 110;

function wrap(text: string, indent: string): readonly string[] {
  const lines: string[] = [];
  let line = `${indent}#`;
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > commentWidth && line !== `${indent}#`) {
      lines.push(line);
      line = `${indent}#`;
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  return `{ ${Object.entries(value).map(([key, part]) => `${key}: ${flow(part)}`).join(', ')} }`;
}

function settingLines(setting: Setting, name: string, indent: string): readonly string[] {
  const { path, doc, note } = setting;
  if (note.isSecret) return wrap(`${name}: ${doc} Never in a file: set ${variableOf(path)} or ${variableOf(path)}_FILE.`, indent);
  const about = wrap(`${doc} (${variableOf(path)})`, indent);
  const value = note.example ?? note.initial;
  if (!note.isStructure || typeof value !== 'object' || value === null) return [...about, `${indent}#${name}: ${flow(value)}`];
  const items = Array.isArray(value) ? value.map((item) => `- ${flow(item)}`) : Object.entries(value).map(([key, item]) => `${key}: ${flow(item)}`);
  return [...about, `${indent}#${name}:`, ...items.map((item) => `${indent}  #${item}`)];
}

function nodeLines(node: SchemaNode, name: string, indent: string): readonly string[] {
  if (node.kind === 'setting') return settingLines(node.setting, name, indent);
  const members = [...node.members].flatMap(([member, child]) => nodeLines(child, member, `${indent}  `));
  return [...wrap(node.doc, indent), `${indent}#${name}:`, ...members];
}

/**
 * The example settings file. Prose follows `# `, a setting follows `#` at once, so removing that `#` (and the one of its
 * group) puts the setting into force; what stays a comment follows the defaults of later versions.
 */
export function exampleYaml(): string {
  const head = [
    `# yaml-language-server: $schema=${schemaFileName}`,
    '# Settings of Plimsoll. Each line below that begins with # and a name shows a default or an example: remove the #, and',
    '# the one before the name of its group, to change it. A variable (in brackets) or a flag is stronger than this file.',
  ];
  const groups = [...schemaTree.members].flatMap(([name, node]) => ['', ...nodeLines(node, name, '')]);
  return `${[...head, ...groups].join('\n')}\n`;
}
