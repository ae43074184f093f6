import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

const TAIL_CHARACTERS = 4000;

/**
 * Runs a command to its end without a shell and without stdin. Resolves `{ code, output }`; `output` is the end of what
 * it printed on both streams, for a sentence when it failed. Never rejects: a program that is not there is code 127.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, timeoutMs?: number, signal?: AbortSignal }} [options] `signal` ends it at once
 */
export function runCommand(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 15 * 60_000,
      signal: options.signal,
      killSignal: 'SIGKILL',
    });
    let output = '';
    const keep = (chunk) => (output = (output + chunk).slice(-TAIL_CHARACTERS));
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    // One that runs is always heard of again by `close`.
    child.on('error', (error) => child.pid === undefined && resolve({ code: 127, output: error.message }));
    child.on('close', (code, signal) =>
      resolve({ code: code ?? 128, output: signal === null ? output : `${output}\nended by ${signal}` }),
    );
  });
}

/** Is there a program of that name on the PATH, or, for a whole path, a file there? */
export async function isOnPath(program) {
  if (program.startsWith('/')) return existsSync(program);
  return (await runCommand('/bin/sh', ['-c', `command -v ${program}`])).code === 0;
}

/** What set-up has to say, one plain line each. */
export function say(line) {
  process.stdout.write(`podgate: ${line}\n`);
}
