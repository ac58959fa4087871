import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, appendFile } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';

/** How a command ended. `exitCode` is null when it could not be started or was killed, for example at its time limit. */
export interface CommandResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a command may be given. `logPath` gets the command line and its whole output appended. */
export interface CommandOptions {
  readonly timeoutMs: number;
  readonly workingDirectory?: string;
  readonly logPath?: string;
}

/**
 * Runs a program to its end and never throws: a program that is missing, fails or overruns is a result like any other,
 * because every caller has a next thing to try. The child inherits the environment; additions go through `env`, which
 * also makes the command line in the log complete.
 */
export async function runCommand(command: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const result = await new Promise<CommandResult>((resolve) => {
    const settings = {
      timeout: options.timeoutMs,
      maxBuffer: 64 * 1024 * 1024,
      encoding: 'utf8' as const,
      ...(options.workingDirectory === undefined ? {} : { cwd: options.workingDirectory }),
    };
    execFile(command, [...args], settings, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve({ exitCode, stdout, stderr: exitCode === null && stderr === '' ? String(error?.message) : stderr });
    });
  });
  if (options.logPath !== undefined) {
    const commandLine = [command, ...args].join(' ');
    await appendFile(options.logPath, `$ ${commandLine}\n${result.stdout}${result.stderr}[exit ${String(result.exitCode)}]\n`);
  }
  return result;
}

/**
 * Every executable file of that name on a search path, in its order. Entries that are not absolute are skipped: an
 * empty entry or `.` would run a program from whatever directory the operator happens to stand in.
 */
export async function findExecutables(name: string, searchPath: string): Promise<string[]> {
  const found: string[] = [];
  for (const directory of searchPath.split(delimiter)) {
    if (!isAbsolute(directory)) continue;
    const candidate = join(directory, name);
    const isExecutable = await access(candidate, constants.X_OK).then(() => true, () => false);
    if (isExecutable) found.push(candidate);
  }
  return found;
}
