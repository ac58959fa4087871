/**
 * The name under which a process sends: enough for another process on the same machine to prove later that it has
 * ended. A pid alone is handed out again; boot, pid namespace and start moment make it unique.
 *
 * One real name: `build-7/4711/9f31c2aa/3f0c…-boot/pid:[4026531836]/8812345`.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { identifySelf, judgeLiveness, type ProcessIdentity } from '../local/process-identity.ts';

/** Names this process; two names made in one process differ. */
export function ownerName(identity: ProcessIdentity = identifySelf()): string {
  const { pid, boot, pidNamespace, startedAt } = identity;
  return [hostname(), pid, randomUUID().slice(0, 8), boot, pidNamespace, startedAt].map((part) => String(part).replaceAll('/', '_')).join('/');
}

/**
 * Whether the process of this name has ended; undefined when that cannot be seen from here: another machine, another
 * container, a system that does not tell boots, namespaces and starts apart. A stopped process has not ended.
 */
export function isOwnerGone(owner: string, self: ProcessIdentity = identifySelf()): boolean | undefined {
  const [host = '', pid = '', , boot = '', pidNamespace = '', startedAt = ''] = owner.split('/');
  const isVisible = boot !== '' && pidNamespace !== '' && startedAt !== '' && boot === self.boot && pidNamespace === self.pidNamespace;
  if (!isVisible || !/^[0-9]+$/.test(pid)) return undefined;
  return judgeLiveness({ pid: Number(pid), startedAt, host, boot, pidNamespace }) === 'dead';
}
