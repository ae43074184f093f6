import { spawn } from 'node:child_process';
import { AcmeError } from '../acme-error.ts';
import type { TextWriter } from './dns-settings.ts';

const KILL_AFTER_MS = 2_000;

/**
 * Writes texts by running the operator's program, without a shell, as `command ...arguments add|remove NAME TEXT`. It exits
 * with 0 on success, including when there is nothing left to do. Its output is not read: with `set -x`, or in the error of an
 * HTTP client, it contains the provider's token, and errors go into logs, records and responses.
 */
export function createExecWriter(options: {
  readonly command: string;
  readonly arguments: readonly string[];
  readonly path: string;
  readonly timeoutMs: number;
}): TextWriter {
  const call = async (action: 'add' | 'remove', name: string, text: string, signal: AbortSignal): Promise<void> => {
    const args = [...options.arguments, action, name, text];
    const problem = await run(
      options.command,
      args,
      options.path,
      AbortSignal.any([signal, AbortSignal.timeout(options.timeoutMs)]),
    );
    signal.throwIfAborted();
    if (problem !== null) throw new AcmeError('refused', `${options.command} ${action} ${name} failed: ${problem}`);
  };
  return {
    add: (name, text, signal) => call('add', name, text, signal),
    remove: (name, text, signal) => call('remove', name, text, signal),
  };
}

/** Null, or what went wrong. */
function run(command: string, args: readonly string[], path: string, signal: AbortSignal): Promise<string | null> {
  return new Promise((resolve) => {
    // Not Podgate's own environment, which may hold the password of Redis.
    const child = spawn(command, args, { env: { PATH: path }, stdio: 'ignore', detached: true });
    const end = (by: NodeJS.Signals): void => {
      try {
        // With what it has started, too: it is a group of its own.
        if (child.pid !== undefined) process.kill(-child.pid, by);
      } catch {
        // It is gone.
      }
    };
    let killing: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      end('SIGTERM');
      killing = setTimeout(() => end('SIGKILL'), KILL_AFTER_MS);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const done = (problem: string | null): void => {
      clearTimeout(killing);
      signal.removeEventListener('abort', onAbort);
      resolve(problem);
    };
    child.once('error', (error) => done(error.message));
    child.once('close', (code) => {
      if (signal.aborted) done('it timed out');
      else done(code === 0 ? null : `exit code ${code ?? 'none'}; run it by hand to see why`);
    });
  });
}
