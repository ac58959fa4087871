import type { IncomingMessage } from 'node:http';
import type { Caller } from './exchange.ts';
import { invalidRequest, type Refusal } from './refusal.ts';
import { identifier } from './seeded.ts';
import type { Settings } from './settings.ts';

/** Who is calling: the key, its workspace, the API version (claude-batches.md 1.1). */

export type Access = { readonly kind: 'granted'; readonly caller: Caller } | { readonly kind: 'refused'; readonly refusal: Refusal };

const VERSIONS = new Set(['2023-01-01', '2023-06-01', '2026-10-21']);

/** Judges the headers of a call. */
export function checkAccess(request: IncomingMessage, settings: Settings): Access {
  const key = keyOf(request);
  if (key === undefined || key === '') {
    return refuse({ status: 401, type: 'authentication_error', message: 'x-api-key header is required' });
  }
  if (settings.apiKeys !== undefined && !settings.apiKeys.has(key)) {
    return refuse({ status: 401, type: 'authentication_error', message: 'API key is invalid.' });
  }
  const apiVersion = header(request, 'anthropic-version');
  if (apiVersion === undefined) {
    return refuse(invalidRequest('anthropic-version: header is required'));
  }
  if (!VERSIONS.has(apiVersion)) {
    return refuse(invalidRequest(`anthropic-version: "${apiVersion}" is not a valid API version`));
  }
  const workspaceId = workspaceIdOf(settings, settings.workspaces[key] ?? 'default');
  const asked = header(request, 'anthropic-workspace-id');
  if (asked !== undefined && asked !== workspaceId) {
    return refuse({ status: 403, type: 'permission_error', message: 'The API key does not belong to the requested workspace.' });
  }
  const betas = (header(request, 'anthropic-beta') ?? '').split(',').map((beta) => beta.trim()).filter((beta) => beta !== '');
  return { kind: 'granted', caller: { workspaceId, apiVersion, betas } };
}

/** The id of a workspace, by its name. */
export function workspaceIdOf(settings: Settings, name: string): string {
  return identifier('wrkspc_01', 22, settings.seed, 'workspace', name);
}

/** Either header is accepted; the 1.12 SDK sends Bearer, older clients `x-api-key`. */
function keyOf(request: IncomingMessage): string | undefined {
  const bearer = /^Bearer\s+(.+)$/i.exec(header(request, 'authorization') ?? '')?.[1];
  return header(request, 'x-api-key') ?? bearer;
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : value?.join(',');
}

function refuse(refusal: Refusal): Access {
  return { kind: 'refused', refusal };
}
