/**
 * The kinds of settings that `schema.ts` is made of. Each kind is a zod type whose error text completes the sentence
 * "it must be …", so a fault can say what would be right without a second table.
 *
 * A type describes both sides: what may be written (`10s`) and what the program gets (10000).
 */
import { z } from 'zod';
import { invariant } from '../segments/errors.ts';
import { durationPattern, integerPattern, parseDuration, parseInteger, parseSize, sizePattern } from './quantity.ts';

/** What a setting knows of itself beyond its type. */
export interface Note {
  /** The default as it would be written; undefined: not set by default. */
  readonly initial: unknown;
  /** Never shown, never read from a settings file, and may come from a `*_FILE` variable. */
  readonly isSecret: boolean;
  /** May come from a `*_FILE` variable, because it can hold a password. */
  readonly mayHoldSecret: boolean;
  /** A list or a map: one value in a file, YAML or JSON text in a variable. */
  readonly isStructure: boolean;
  /** Shown in the example file where there is no default. */
  readonly example: unknown;
}

export const notes = z.registry<Note>();

/** A note that says nothing; the start of every other. */
export const noNote: Note = {
  initial: undefined,
  isSecret: false,
  mayHoldSecret: false,
  isStructure: false,
  example: undefined,
};

/** The note of a type; every type made here has one. */
export function noteOf(type: z.ZodType): Note {
  return notes.get(type) ?? noNote;
}

function quantity(
  kind: string,
  pattern: RegExp,
  parse: (given: string | number) => number | undefined,
  least: string | number,
  most: string | number,
) {
  const leastValue = parse(least);
  const mostValue = parse(most);
  invariant(leastValue !== undefined && mostValue !== undefined && leastValue <= mostValue, `bounds ${least} to ${most} of a setting`);
  const allowed = `${kind}, from ${least} to ${most}`;
  return z
    .union([z.string().regex(pattern, { error: allowed }), z.int({ error: allowed }).min(0, { error: allowed })], { error: allowed })
    .transform((given, context) => {
      const value = parse(given);
      if (value !== undefined && value >= leastValue && value <= mostValue) return value;
      context.addIssue({ code: 'custom', message: allowed });
      return z.NEVER;
    });
}

/** A span of time, `10s`; the program gets ms. Bounds are inclusive. */
export function duration(least: string, most: string) {
  return quantity('a duration such as 200ms, 10s, 5m, 24h or 1d', durationPattern, parseDuration, least, most);
}

/** A number of bytes, `8MB`; bounds are inclusive. */
export function size(least: string, most: string | number) {
  return quantity('a size such as 64KB, 8MB (10^6) or 8MiB (2^20)', sizePattern, parseSize, least, most);
}

/** A whole number; bounds are inclusive. */
export function integer(least: number, most: number) {
  return quantity('a whole number', integerPattern, parseInteger, least, most);
}

/** One of a few words. */
export function choice<const Words extends readonly [string, ...string[]]>(words: Words) {
  const allowed = words.length === 1 ? words[0] : `one of ${words.join(', ')}`;
  return z.enum(words, { error: allowed });
}

/** A text that matches a pattern, and a check where a pattern cannot say it. */
export function text(pattern: RegExp, allowed: string, accepts: (given: string) => boolean = () => true) {
  return z
    .string({ error: allowed })
    .regex(pattern, { error: allowed, abort: true })
    .refine(accepts, { error: allowed });
}

/** A secret: visible ASCII without blanks, because it becomes an HTTP header. */
export function secret(lengthMax: number) {
  const allowed = `1 to ${lengthMax} visible ASCII characters without blanks`;
  return z
    .string({ error: allowed })
    .max(lengthMax, { error: allowed, abort: true })
    .regex(/^[\x21-\x7e]+$/, { error: allowed })
    .register(notes, { ...noNote, isSecret: true, mayHoldSecret: true });
}

function annotate(type: z.ZodType, note: Note): void {
  notes.add(type, note);
}

/** Completes a setting: its type, its default as it would be written, its one-line description. */
export function setting<Type extends z.ZodType>(type: Type, initial: z.input<Type>, doc: string, more: Partial<Note> = {}) {
  const completed = z.prefault(type, initial).describe(doc);
  annotate(completed, { ...noteOf(type), ...more, initial });
  return completed;
}

/** Completes a setting that is not set by default. */
export function unset<Type extends z.ZodType>(type: Type, doc: string, more: Partial<Note> = {}) {
  const completed = z.optional(type).describe(doc);
  annotate(completed, { ...noteOf(type), ...more });
  return completed;
}

/** Settings that belong together; unknown names among them are faults. */
export function group<Shape extends z.ZodRawShape>(doc: string, shape: Shape) {
  return z.strictObject(shape).describe(doc);
}
