import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { pollUntil } from './poll.ts';
import { identifyProcess, judgeLiveness, type ProcessIdentity } from './process-identity.ts';
import { hasCode } from './record.ts';

/** A program to start detached. `env` is its whole environment; without `workingDirectory` it gets the caller's. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDirectory?: string;
}

/** Where its output goes: `stdout` is emptied first, `stderr` is appended to. */
export interface OutputFiles {
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that exists but has not begun its program. */
export interface GatedProcess {
  readonly identity: ProcessIdentity;
  /** Lets the program begin. */
  release(): Promise<void>;
  /** Ends the process without its program ever beginning. */
  abandon(): void;
}

const stopPatience = { limitMs: 15_000, firstMs: 5, longestMs: 100 };

/**
 * Starts a process in a session of its own, so that neither Ctrl-C nor the death of its starter reaches it, with
 * nothing of the starter's open, and holds it at a gate: a shell that waits for one line before it becomes the program.
 *
 * The gate is what makes a server recoverable. Its pid must be in the home before it touches any data; if the starter
 * is killed in between, the pipe closes, the shell reads no line and ends, and the program has never run. Pid and start
 * time stay the same when the shell becomes the program.
 */
export async function spawnGated(launch: Launch, files: OutputFiles): Promise<GatedProcess> {
  const stdout = await open(files.stdout, 'w', 0o600);
  const stderr = await open(files.stderr, 'a', 0o600);
  try {
    const script = 'read -r go && exec "$0" "$@" </dev/null';
    const child = spawn('/bin/sh', ['-c', script, launch.command, ...launch.args], {
      detached: true,
      stdio: ['pipe', stdout.fd, stderr.fd],
      env: { ...launch.env },
      ...(launch.workingDirectory === undefined ? {} : { cwd: launch.workingDirectory }),
    });
    await once(child, 'spawn');
    child.unref();
    const gate = child.stdin;
    const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
    if (gate === null || identity === undefined) throw new Error(`The process for ${launch.command} ended as it was started.`);
    // A child that died at the gate closes the pipe; the wait for its first answer will find it dead.
    gate.on('error', () => undefined);
    return {
      identity,
      release: async () => {
        await new Promise((resolve) => gate.write('go\n', resolve));
        gate.destroy();
      },
      abandon: () => void gate.destroy(),
    };
  } finally {
    await stdout.close();
    await stderr.close();
  }
}

/**
 * Ends a process, politely first. It signals only who still is the process of that identity, and returns when it is
 * gone. Raises an error when it cannot be ended within 30 s.
 */
export async function stopProcess(identity: ProcessIdentity): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (judgeLiveness(identity) !== 'alive') return;
    try {
      process.kill(identity.pid, signal);
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error;
    }
    const isGone = await pollUntil(() => (judgeLiveness(identity) === 'alive' ? undefined : true), stopPatience);
    if (isGone === true) return;
  }
  throw new Error(`Process ${identity.pid} does not end, even when killed. Look at it with "ps -p ${identity.pid}".`);
}
