import { spawn } from 'node:child_process';
import type { OsUser } from './os-users.ts';

const STDERR_KEPT_BYTES = 4_096;

export interface ToolOptions {
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Null: runs as ourselves. */
  readonly user: OsUser | null;
  /** Goes to its standard input: the place for secrets, which argv is not. */
  readonly input?: string;
  readonly timeoutMs: number;
}

/** Runs a program of ours to its end. Throws with the end of what it wrote to stderr when it fails or takes too long. */
export function runTool(
  program: string,
  args: readonly string[],
  options: ToolOptions,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.environment,
      stdio: ['pipe', 'ignore', 'pipe'],
      killSignal: 'SIGKILL',
      signal: AbortSignal.any([signal, AbortSignal.timeout(options.timeoutMs)]),
      ...(options.user ?? {}),
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-STDERR_KEPT_BYTES);
    });
    // It may end before it has read its input: its exit code says more.
    child.stdin.on('error', () => undefined).end(options.input ?? '');
    child.once('error', reject);
    child.once('close', (code, killedBy) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} failed (${code ?? killedBy ?? 'unknown'}): ${stderr.trim()}`));
    });
  });
}
