import type { Operation } from './faultkinds.ts';

/** Which operation a method and path mean. `?beta=true` and other query parts play no role (claude-batches.md 1.3). */
export interface Route {
  readonly operation: Operation;
  /** The id in the path, or an empty string. */
  readonly subject: string;
}

const ROUTES: readonly (readonly [method: string, path: RegExp, operation: Operation])[] = [
  ['POST', /^\/v1\/messages\/batches\/?$/, 'batches.create'],
  ['GET', /^\/v1\/messages\/batches\/?$/, 'batches.list'],
  ['GET', /^\/v1\/messages\/batches\/([^/]+)$/, 'batches.retrieve'],
  ['DELETE', /^\/v1\/messages\/batches\/([^/]+)$/, 'batches.delete'],
  ['POST', /^\/v1\/messages\/batches\/([^/]+)\/cancel$/, 'batches.cancel'],
  ['GET', /^\/v1\/messages\/batches\/([^/]+)\/results$/, 'batches.results'],
  ['POST', /^\/v1\/messages$/, 'messages.create'],
  ['POST', /^\/v1\/messages\/count_tokens$/, 'messages.count_tokens'],
  ['GET', /^\/v1\/models$/, 'models.list'],
  ['GET', /^\/v1\/models\/([^/]+)$/, 'models.retrieve'],
];

/** The route of a call; undefined for a path the API does not have. */
export function findRoute(method: string, path: string): Route | undefined {
  for (const [wanted, pattern, operation] of ROUTES) {
    const match = wanted === method ? pattern.exec(path) : null;
    if (match !== null) {
      return { operation, subject: decodeSubject(match[1] ?? '') };
    }
  }
  return undefined;
}

function decodeSubject(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
