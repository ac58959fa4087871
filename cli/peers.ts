/**
 * Who else works on an installation: every process that reads a source or works stages names its connections, and Redis
 * lists them. A stopped process keeps its connections, so it counts as present.
 */
import { hostname } from 'node:os';
import type { Redis } from 'ioredis';

/** What a connection is for. Only `view` changes nothing that a rebuild could lose. */
export type Role = 'view' | 'ingest' | 'stages' | 'rebuild';

export interface Peer {
  readonly role: Role;
  /** `<host>/<pid>`. */
  readonly process: string;
}

const self = `${hostname().replaceAll(/[^\w.-]/g, '-')}/${process.pid}`;

/** The name of a connection of this process. */
export function connectionName(tag: string, role: Role): string {
  return `plimsoll:${tag}:${role}:${self}`;
}

/** Other processes that are connected, each role once; undefined when this Redis does not say who is connected. */
export async function listPeers(redis: Redis, tag: string): Promise<readonly Peer[] | undefined> {
  let text: string;
  try {
    text = String(await redis.client('LIST'));
  } catch {
    return undefined;
  }
  return peersOf(text, tag);
}

/** Reads the reply of CLIENT LIST. */
export function peersOf(text: string, tag: string): readonly Peer[] {
  const found = new Map<string, Peer>();
  for (const match of text.matchAll(/ name=plimsoll:([^: ]+):(view|ingest|stages|rebuild):(\S+)/g)) {
    const [, owner, role = 'view', process = ''] = match;
    if (owner === tag && process !== self) found.set(`${role} ${process}`, { role: role as Role, process });
  }
  return [...found.values()].sort((a, b) => (a.process < b.process ? -1 : 1));
}
