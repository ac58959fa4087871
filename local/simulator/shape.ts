/** Narrowing of parsed JSON. Everything that arrives from outside is `unknown` until one of these has looked at it. */

/** A JSON object whose values have not been looked at yet. */
export type JsonObject = { readonly [key: string]: unknown };

/** True for a JSON object, false for arrays, null and scalars. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True for a JSON array. */
export function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** The value if it is a string, else undefined. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** The value if it is a finite number, else undefined. */
export function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** The items of a list, or an empty list for anything else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Parses JSON text; undefined when it is not JSON, so that a caller can word its own error. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Marks a switch that has covered every case; throws if a new case was added without code for it. */
export function assertNever(value: never): never {
  throw new Error(`The simulator met a case it has no code for: ${JSON.stringify(value)}. This is a defect of the simulator.`);
}
