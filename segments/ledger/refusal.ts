/** What it means when a call of Redis fails: by the client's error names, errno codes and the server's reply codes, never by text. */
import { errnoOf, PlimsollError } from '../errors.ts';

/**
 * Reply codes by which a server that is reachable says that it cannot take the call now, and that nothing of it was done
 * (`createSharedObjects` in `server.c` of Redis 7). A script that has written is not refused midway for memory: only its
 * first write can be.
 */
const refusals: Readonly<Record<string, { readonly message: string; readonly hint: string }>> = {
  OOM: { message: 'Redis has no memory left', hint: 'Raise maxmemory or give the server a larger machine; the work goes on by itself when there is room.' },
  MISCONF: { message: 'Redis cannot write its file', hint: 'Make room on the disk of the server, and look into its log; the work goes on by itself.' },
  READONLY: { message: 'this Redis is a replica', hint: 'Let REDIS_URL name the primary; after a failover the work goes on by itself.' },
  NOREPLICAS: { message: 'Redis has too few replicas to take writes', hint: 'See min-replicas-to-write of the server; the work goes on by itself.' },
  LOADING: { message: 'Redis still loads its file', hint: 'Wait; the work goes on by itself.' },
  BUSY: { message: 'Redis runs a script for too long', hint: 'Look for a foreign script (SLOWLOG); the work goes on by itself.' },
  CLUSTERDOWN: { message: 'the cluster of Redis is down', hint: 'See CLUSTER INFO; the work goes on by itself.' },
  MASTERDOWN: { message: 'the replica of Redis has lost its primary', hint: 'Let REDIS_URL name the primary.' },
};

/** The first word of a server's error reply, which is its code by protocol; undefined: it is no such reply. */
export function replyCodeOf(error: unknown): string | undefined {
  return error instanceof Error && error.name === 'ReplyError' ? /^[A-Z]+/.exec(error.message)?.[0] : undefined;
}

/**
 * The error that a failed call of Redis is for its caller: `redis_unavailable` when the server cannot be reached within
 * the client's limits, `redis_refused` when it says that it takes nothing now, else the error itself. `where` names the call.
 */
export function ledgerFault(error: unknown, where: string): unknown {
  const refusal = refusals[replyCodeOf(error) ?? ''];
  if (refusal) return new PlimsollError('redis_refused', { ...refusal, where, cause: error });
  const isConnection = error instanceof Error && (error.name === 'MaxRetriesPerRequestError' || errnoOf(error) !== undefined);
  if (!isConnection) return error;
  return new PlimsollError('redis_unavailable', {
    message: 'the ledger cannot be reached',
    where,
    hint: 'Check that Redis runs and that REDIS_URL names it; nothing was half done.',
    cause: error,
  });
}
