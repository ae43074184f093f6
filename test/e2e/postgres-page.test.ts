import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { pageBlock } from '../support/page-block.ts';

const ROOT = join(import.meta.dirname, '../..');
const page = readFileSync(join(ROOT, 'docs/postgres.md'), 'utf8');

let program: Program;
/** As a reader's directory is: `.podgate` in it, and what npm has installed. */
let dir: string;

beforeAll(async () => {
  program = await Program.start({ workers: 2 });
  await program.createPod({ pod_id: 'mypg', pod_template: 'postgres' });
  dir = mkdtempSync(join(tmpdir(), 'podgate-page-'));
  symlinkSync(program.dataDir, join(dir, '.podgate'));
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
}, 120_000);
afterAll(async () => {
  await program.dispose();
  rmSync(dir, { recursive: true });
});

/** Only the ports differ from what the page says. */
const here = (text: string): string =>
  text.replaceAll('8443', String(program.httpsPort)).replaceAll('127.0.0.1:8000', `127.0.0.1:${program.controlPort}`);

/** Types lines as they stand on the page, after those that set the environment. */
async function type(lines: string): Promise<string> {
  const script = here(`set -euo pipefail\n${pageBlock(page, 'credentials')}\n${lines}`);
  const { code, stdout, stderr } = await run('/bin/bash', ['-c', script], { cwd: dir, timeoutMs: 120_000 });
  expect(code, stderr).toBe(0);
  return stdout + stderr;
}

/** A program of the page, in a file of the name that it says, run as it says. */
async function runProgram(language: string): Promise<string> {
  const block = new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``).exec(page)?.[1] ?? '';
  const [, file = '', command = ''] = /^(?:\/\/|#) (\S+), run by: (.*?)(?: {3}.*)?$/m.exec(block) ?? [];
  writeFileSync(join(dir, file), here(block));
  return type(command);
}

test('psql and pgbench connect', async () => {
  const answer = await type(pageBlock(page, 'psql'));
  expect(answer.match(/^ +42$/gm)).toHaveLength(2);
  expect(answer).toContain('actually processed: 400/400');
});

test.each(['java', 'js', 'python'])('the program in %s prints its result', async (language) => {
  expect((await runProgram(language)).trim().split(/\s+/)).toEqual(language === 'js' ? ['42', '42'] : ['42']);
});

test('clients that send no server name connect', async () => {
  expect((await type(pageBlock(page, 'no-server-name'))).match(/^ +42$/gm)).toHaveLength(3);
});

test('a JDBC URL without a server name connects', async () => {
  const url = here(/^jdbc:postgresql:\/\/127.*$/m.exec(page)?.[0] ?? '');
  const source = join(ROOT, 'test/integration/proxy/postgres/jdbc/Connect.java');
  const more = `'${url}&user=mypg&password='"$PGPASSWORD"`;
  expect(await type(`java -cp /usr/share/java/postgresql.jar ${source} ${more}`)).toBe('ok mypg\n');
});

test('COPY returns what it has stored', async () => {
  const lines = (await type(pageBlock(page, 'copy'))).trim().split('\n');
  expect(lines[0]).toBe('COPY 100000');
  expect(lines[1]).toMatch(/^[0-9a-f]{32} /);
  expect(lines[1]).toBe(lines[2]);
});

test('Ctrl-C cancels', async () => {
  expect(await type(pageBlock(page, 'cancel'))).toContain('canceling statement due to user request');
});

test('pg_isready knows whether it runs, and the gateway really sends every message of the table', async () => {
  expect(await type(pageBlock(page, 'pg_isready'))).toContain('accepting connections');
  await program.get('/v3/pods/mypg/stop');
  await program.podStatus('mypg', 'STOPPED');
  expect(await type('pg_isready || [ $? = 1 ]')).toContain('rejecting connections');
  const say = async (more: string): Promise<string> => type(`psql "${more}" -c 'SELECT 1' || [ $? = 2 ]`);
  expect(await say('host=mypg.pods.localhost')).toContain('Pod mypg is not running: its status is STOPPED.');
  expect(await say('host=other.pods.localhost')).toContain('No pod has the host name other.pods.localhost');
  expect(await say('host=127.0.0.1 sslmode=require')).toContain('No server name was given.');
  expect(await say('host=mypg.pods.localhost sslmode=disable')).toContain('This port accepts TLS only.');
});
