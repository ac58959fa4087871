/**
 * Who a process is, in a way that outlives it. A pid alone is not enough: the kernel hands it out again, and a home that
 * trusted it would signal a stranger. The pid, the moment its process began and the machine it ran on are.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * One process, as it is written into the home. `startedAt` is the kernel's own mark of the start (clock ticks since boot
 * on Linux, a date on macOS), empty where the kernel would not tell. `host`, `boot` and `pidNamespace` say where the pid
 * means something; `boot` and `pidNamespace` are empty on systems without such names.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startedAt: string;
  readonly host: string;
  readonly boot: string;
  readonly pidNamespace: string;
}

/**
 * `alive` and `dead` are certain. `hidden`: same kernel, another container, whose pids cannot be seen from here.
 * `elsewhere`: another machine, which reaches this folder over a network.
 */
export type Liveness = 'alive' | 'dead' | 'hidden' | 'elsewhere';

/** The identity of a process on this machine, or undefined when there is none with that pid. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const startedAt = startOf(pid);
  if (startedAt === undefined) return undefined;
  const place = process.platform === 'linux' ? linuxPlace() : { host: '', boot: '', pidNamespace: '' };
  return { pid, startedAt, ...place };
}

/** The identity of the process that asks. */
export function identifySelf(): ProcessIdentity {
  const self = identifyProcess(process.pid);
  if (self === undefined) throw new Error(`The system denies that this very process, ${process.pid}, is running.`);
  return self;
}

/** Whether the process that once wrote this identity still runs. */
export function judgeLiveness(identity: ProcessIdentity): Liveness {
  const here = process.platform === 'linux' ? linuxPlace() : { host: '', boot: '', pidNamespace: '' };
  if (identity.boot !== here.boot) return identity.host === here.host ? 'dead' : 'elsewhere';
  if (identity.boot === '' && identity.host !== here.host) return 'elsewhere';
  if (identity.pidNamespace !== here.pidNamespace) return 'hidden';
  return startOf(identity.pid) === identity.startedAt ? 'alive' : 'dead';
}

/** undefined: no such process, or one that has ended and only waits for its parent to notice (a zombie). */
function startOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    const stat = readOrEmpty(`/proc/${pid}/stat`);
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses: count from the
    // last one. Then come the state (field 3) and, in field 22, the start in clock ticks since boot (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (stat !== '') return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
    return isSignallable(pid) ? '' : undefined;
  }
  try {
    // A fixed locale and time zone: the same start must read the same in every process.
    const environment = { PATH: '/bin:/usr/bin', LC_ALL: 'C', TZ: 'UTC' };
    const answer = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { env: environment, encoding: 'utf8' }).trim();
    const [state = '', ...start] = answer.split(/\s+/);
    return answer === '' || state.startsWith('Z') ? undefined : start.join(' ');
  } catch {
    return undefined; // ps exits with 1 when there is no such process.
  }
}

/** Signal 0 only asks. A refusal for want of permission still proves that somebody is there. */
function isSignallable(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function linuxPlace(): { host: string; boot: string; pidNamespace: string } {
  let pidNamespace = '';
  try {
    pidNamespace = readlinkSync('/proc/self/ns/pid');
  } catch {
    // Some sandboxes show no namespaces; then all processes seen are taken for neighbours.
  }
  return { host: hostname(), boot: readOrEmpty('/proc/sys/kernel/random/boot_id').trim(), pidNamespace };
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
