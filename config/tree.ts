/**
 * The schema as a tree of groups and settings, for whoever walks it beside something else: a settings file, the names of
 * variables, the example file.
 */
import { z } from 'zod';
import { schema } from './schema.ts';
import { noteOf } from './setting.ts';
import type { Note } from './setting.ts';

/** One setting of the schema. */
export interface Setting {
  /** `poll.min`. */
  readonly path: string;
  readonly type: z.ZodType;
  readonly doc: string;
  readonly note: Note;
}

/** Settings that belong together, by name. */
export interface SchemaGroup {
  readonly kind: 'group';
  /** Empty for the whole schema. */
  readonly path: string;
  readonly doc: string;
  readonly members: ReadonlyMap<string, SchemaNode>;
}

/** A group of settings or a setting, as the schema nests them. */
export type SchemaNode = SchemaGroup | { readonly kind: 'setting'; readonly setting: Setting };

function nodeOf(path: string, type: z.core.$ZodType): SchemaNode {
  if (type instanceof z.ZodObject) return groupOf(path, type);
  if (!(type instanceof z.ZodType)) throw new TypeError(`${path} is no setting`);
  return { kind: 'setting', setting: { path, type, doc: type.description ?? '', note: noteOf(type) } };
}

function groupOf(path: string, type: z.ZodObject): SchemaGroup {
  const members = Object.entries(type.shape).map(([name, member]): [string, SchemaNode] => {
    return [name, nodeOf(path === '' ? name : `${path}.${name}`, member)];
  });
  return { kind: 'group', path, doc: type.description ?? '', members: new Map(members) };
}

function flatten(node: SchemaNode): readonly Setting[] {
  return node.kind === 'setting' ? [node.setting] : [...node.members.values()].flatMap(flatten);
}

/** The whole schema. */
export const schemaTree: SchemaGroup = groupOf('', schema);

/** Every setting by its path, in the order of the schema. */
export const settings: ReadonlyMap<string, Setting> = new Map(flatten(schemaTree).map((setting) => [setting.path, setting]));
