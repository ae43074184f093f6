import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

/** Types what README.md and docs/command-line.md tell a reader to type, in their order, as a reader would. */
const ROOT = join(import.meta.dirname, '../..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const PAGE = readFileSync(join(ROOT, 'docs/command-line.md'), 'utf8');

/** Lines that this test does not type, and why. */
const NOT_TYPED: readonly (readonly [line: RegExp, why: string])[] = [
  [/^npm (start|test)\b/, 'the program runs already; a test cannot run all tests'],
  [/\bmygraph\b/, 'test/e2e/neo4j.test.ts does'],
  [/^(docker|kubectl|cp -r deploy)\b/, 'test/image and test/real-node do'],
  [/ login https:\/\/pods\.example\.org (?: *#.*)?$/, 'asks on a terminal: test/e2e/oauth-login.test.ts'],
  [/ login .* --token\b/, 'asks on a terminal'],
];

let program: Program;
let directory: string;

beforeAll(async () => {
  program = await Program.start({ workers: 1 });
  directory = mkdtempSync(join(tmpdir(), 'podgate-typed-'));
  symlinkSync(program.dataDir, join(directory, '.podgate'));
  symlinkSync(join(ROOT, 'podgate'), join(directory, 'podgate'));
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  // As `podgate install command` puts it on the PATH.
  writeFileSync(join(bin, 'podgate'), `#!/bin/sh\nexec ${join(ROOT, 'podgate')} "$@"\n`);
  chmodSync(join(bin, 'podgate'), 0o755);
  for (const folder of ['.local/share/bash-completion/completions', '.zsh', '.config/fish/completions']) {
    mkdirSync(join(directory, folder), { recursive: true });
  }
  writeFileSync(join(directory, 'token.txt'), program.token);
}, 120_000);

afterAll(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true, force: true });
});

/** Commands of the blocks of shell lines, those that go on in the next line as one. */
function commandsOf(markdown: string): readonly string[] {
  return [...markdown.matchAll(/```sh\n([^]*?)```/g)]
    .flatMap(([, block = '']) => block.replaceAll(/\\\n\s*/g, '').split('\n'))
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

function isTyped(line: string): boolean {
  return !NOT_TYPED.some(([pattern]) => pattern.test(line));
}

/** Ports, and the installation that is logged in to, are those of the test. */
function here(line: string): string {
  const local = `http://127.0.0.1:${program.controlPort}`;
  return line
    .replaceAll('127.0.0.1:8000', `127.0.0.1:${program.controlPort}`)
    .replaceAll('8443', String(program.httpsPort))
    .replaceAll('https://pods.example.org', local)
    .replaceAll('pods.example.org', `127.0.0.1-${program.controlPort}`);
}

async function type(line: string, { isLocal }: { readonly isLocal: boolean }): Promise<string> {
  // A token comes from a file where a person would be asked.
  const stdin = / login http/.test(here(line)) && !line.includes('<') ? ' < token.txt' : '';
  const bare = here(line).replace(/ +#.*$/, '');
  const { code, stdout, stderr } = await run('/bin/bash', ['-c', `set -euo pipefail\n${bare}${stdin}`], {
    cwd: directory,
    env: {
      HOME: directory,
      XDG_CONFIG_HOME: join(directory, '.config'),
      PATH: `${join(directory, 'bin')}:${process.env['PATH'] ?? ''}`,
      // The copy of the script finds the program by itself, but not the data directory of the test.
      ...(isLocal ? { PODGATE_DATA_DIR: program.dataDir } : {}),
    },
    timeoutMs: 120_000,
  });
  expect([line, code, code === 0 ? '' : stderr]).toEqual([line, 0, '']);
  return stdout + stderr;
}

test('every command of README.md works', async () => {
  const lines = commandsOf(README);
  expect(lines.length).toBeGreaterThan(10);
  const said = new Map<string, string>();
  for (const line of lines.filter(isTyped)) said.set(line, await type(line, { isLocal: true }));
  expect(said.size).toBeGreaterThan(4);
  expect([...said].find(([line]) => line.includes('psql mypg -c'))?.[1]).toContain('PostgreSQL');
  expect([...said].find(([line]) => line.includes('podgate env mypg'))?.[1]).toContain('PGHOST=mypg.pods.localhost');
  expect([...said].find(([line]) => line.startsWith('curl --cacert'))?.[1]).toContain('Directory listing');
}, 300_000);

test('every command in a block of docs/command-line.md works', async () => {
  const lines = commandsOf(PAGE);
  expect(lines.length).toBeGreaterThan(5);
  for (const line of lines.filter(isTyped)) await type(line, { isLocal: false });
  expect(readFileSync(join(directory, '.zsh/_podgate'), 'utf8')).toContain('#compdef podgate');
}, 120_000);

test('every command and option in the tables of docs/command-line.md exists', async () => {
  const rows = PAGE.split('\n').filter((line) => line.startsWith('| `'));
  expect(rows.length).toBeGreaterThan(15);
  for (const row of rows) {
    const [, first = '', second = ''] = row.split(/(?<!\\)\|/);
    const commands = [...first.matchAll(/`([^`]+)`/g)]
      .map(([, text = '']) => text)
      .filter((text) => /^[a-z]/.test(text));
    let help = '';
    for (const command of commands) {
      // Words in capitals stand for names.
      const words = /^[a-z-]+(?: [a-z-]+(?= |$))?/.exec(command)?.[0].split(' ') ?? [];
      const { code, stdout, stderr } = await run(process.execPath, [join(ROOT, 'cli/podgate.ts'), ...words, '--help'], {
        cwd: ROOT,
        env: { PODGATE_DATA_DIR: program.dataDir },
      });
      expect([command, code, stderr]).toEqual([command, 0, '']);
      help += stdout;
    }
    const options = [...`${first} ${second}`.matchAll(/(?<![\w-])--?[a-z][a-z-]*/g)].map(([option]) => option);
    for (const option of options) expect([row, help]).toEqual([row, expect.stringContaining(option)]);
  }
}, 300_000);
