import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExecDialogue } from '../../../spawner/orchestrator/exec/exec-dialogue.ts';
import { EXEC_SCRIPT } from '../../../spawner/orchestrator/exec/exec-script.ts';

/** Of an image with nothing but BusyBox, whose programs read beyond what they pass on. */
let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'podgate-shells-'));
  for (const name of ['busybox', 'bash', 'empty']) mkdirSync(join(root, name));
  execFileSync('busybox', ['--install', '-s', join(root, 'busybox')]);
  symlinkSync('/bin/bash', join(root, 'bash', 'sh'));
  symlinkSync('/bin/sh', join(root, 'empty', 'sh'));
});
afterAll(() => rmSync(root, { recursive: true }));

const SHELLS = {
  'the shell of this machine': () => ({ shell: '/bin/sh', path: '/usr/bin:/bin' }),
  bash: () => ({ shell: join(root, 'bash', 'sh'), path: '/usr/bin:/bin' }),
  BusyBox: () => ({ shell: join(root, 'busybox', 'sh'), path: join(root, 'busybox') }),
};

async function run(how: { shell: string; path: string }, command: readonly string[], input: AsyncIterable<Uint8Array>) {
  const child = spawn(how.shell, ['-c', EXEC_SCRIPT, 'podgate-exec', ...command], {
    env: { PATH: how.path },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const dialogue = new ExecDialogue();
  const outputs = Promise.all(
    (['stdout', 'stderr'] as const).map((name) => buffer(child[name].pipe(dialogue.printedStream(name)))),
  );
  void dialogue.start(
    input,
    (bytes) =>
      new Promise((resolve, reject) => child.stdin.write(bytes, (error) => (error ? reject(error) : resolve()))),
    () => child.stdin.destroy(),
  );
  const code = await dialogue.ended;
  const [stdout = Buffer.alloc(0), stderr = Buffer.alloc(0)] = await outputs;
  dialogue.finish();
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  child.stdin.destroy();
  return { code, stdout, stderr: stderr.toString(), signal };
}

async function* pieces(size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size; at += 7_001) {
    yield Buffer.from(Array.from({ length: Math.min(7_001, size - at) }, (_, index) => (at + index) % 251));
  }
}

describe.each(Object.entries(SHELLS))('the script around a command, with %s', (_, shellOf) => {
  it('passes on input of several frames, byte for byte', async () => {
    const size = 1_000_000;
    const result = await run(shellOf(), ['sh', '-c', 'cat; echo to stderr >&2; exit 3'], pieces(size));
    expect(result).toMatchObject({ code: 3, stderr: 'to stderr\n', signal: 'SIGKILL' });
    expect(result.stdout.length).toBe(size);
    expect(result.stdout.every((byte, index) => byte === index % 251)).toBe(true);
  });

  it('reports how a command that reads no input ended, and ends with everything it has left behind', async () => {
    const result = await run(shellOf(), ['sh', '-c', 'trap "" TERM; sleep 86310 & printf begun; exit 4'], pieces(1e9));
    expect(result).toMatchObject({ code: 4, stdout: Buffer.from('begun'), stderr: '', signal: 'SIGKILL' });
  });
});

it('the script around a command reports that an image has no program to pass on input', async () => {
  const result = await run({ shell: '/bin/sh', path: join(root, 'empty') }, ['cat'], pieces(1e9));
  expect(result.code).toBe(126);
  expect(result.stderr).toContain('this image has no dd(1)');
});
