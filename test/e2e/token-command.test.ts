import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

const CLI = join(import.meta.dirname, '../../bin/podgate.mjs');
const directory = mkdtempSync(join(tmpdir(), 'podgate-token-'));
const file = (name: string): string => join(directory, name);
let program: Program;

beforeAll(async () => {
  // As docs/operations.md has it.
  for (const name of ['token.key', 'other.key']) {
    execFileSync('sh', ['-c', `umask 077 && openssl genrsa -out ${name} 2048`], { cwd: directory, stdio: 'ignore' });
  }
  const pem = execFileSync('openssl', ['rsa', '-in', file('token.key'), '-pubout'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const key = pem.toString().trimEnd().replaceAll('\n', '\n      ');
  writeFileSync(
    file('podgate.yaml'),
    `tenants:\n  - id: example\n    baseHost: example.test\n    administrators: [admin]\n    key: |\n      ${key}\n`,
  );
  program = await Program.start({ workers: 1, env: { PODGATE_CONFIG: file('podgate.yaml') } });
});
afterAll(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true });
});

const token = (...args: readonly string[]) =>
  run(process.execPath, [CLI, 'token', '--user', 'admin', ...args], {
    env: { PODGATE_CONFIG: file('podgate.yaml'), PODGATE_DATA_DIR: program.dataDir },
  });

it('an operator signs tokens with the private key of the tenant', async () => {
  const { stdout, code } = await token('--key', file('token.key'));
  expect(code).toBe(0);
  const answer = await fetch(`http://127.0.0.1:${program.controlPort}/v3/pods`, {
    headers: { 'X-Tapis-Token': stdout.trim() },
  });
  expect(answer.status).toBe(200);
});

it('distinguishes a wrong key, no key, and a missing file', async () => {
  expect((await token('--key', file('other.key'))).stderr).toContain('does not match the public key of tenant example');
  expect((await token()).stderr).toContain('pass it with --key FILE');
  expect(await token('--key', file('none'))).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('does not exist') as string,
  });
});
