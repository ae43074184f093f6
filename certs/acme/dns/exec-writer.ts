import { spawn } from 'node:child_process';
import { AcmeError } from '../acme-error.ts';
import type { TextWriter } from './dns-settings.ts';

/** Of what it prints, the end is quoted when it fails. */
const QUOTED_CHARACTERS = 300;
const KILL_AFTER_MS = 2_000;

/**
 * Writes texts by a program of the operator's: called without a shell as `command ...arguments add|remove NAME TEXT`, with
 * exit code 0 for success, also when there is nothing to do any more.
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
    const child = spawn(command, args, { env: { PATH: path }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let output = '';
    const keep = (chunk: string): void => void (output = (output + chunk).slice(-QUOTED_CHARACTERS));
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
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
      const said = output.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim();
      if (signal.aborted) done('it took too long');
      else done(code === 0 ? null : `exit code ${code ?? 'none'}${said === '' ? '' : `, it says: ${said}`}`);
    });
  });
}
