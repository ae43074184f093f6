import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

let program: Program;

beforeAll(async () => {
  program = await Program.start({ workers: 2 });
});
afterAll(async () => {
  await program.dispose();
});

const podgate = (...args: readonly string[]) => podgateCommand(program, args);
/** Parsed, of a command that succeeds. */
async function json(...args: readonly string[]): Promise<unknown> {
  const { code, stdout, stderr } = await podgate(...args, '--json');
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as unknown;
}

test('a pod lives and dies by commands', async () => {
  const created = await podgate('create', 'mypg', '--template', 'postgres');
  expect(created, created.stderr).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('mypg is ready') as string,
  });
  expect(created.stdout + created.stderr).toContain('podgate psql mypg');
  const listed = await podgate('list');
  expect(listed.stdout).toMatch(/^POD +STATUS +TEMPLATE.*\nmypg +RUNNING +postgres +mypg\.pods\.localhost/);
  expect(await json('list')).toMatchObject([{ pod_id: 'mypg', status: 'RUNNING' }]);
  expect(await json('show', 'mypg')).toMatchObject({ pod_id: 'mypg', networking: { default: { port: 5432 } } });
  expect((await podgate('logs', 'mypg')).stdout).toContain('database system is ready');
  const { stdout } = await podgate('psql', 'mypg', '-At', '-c', 'select 6 * 7');
  expect(stdout).toBe('42\n');

  const { stdout: exports } = await podgate('env', 'mypg');
  const byEnvironment = await run('sh', ['-c', `${exports}\nexec psql -At -c 'select 7 * 6' "$DATABASE_URL"`]);
  expect(byEnvironment, byEnvironment.stderr).toMatchObject({ code: 0, stdout: '42\n' });

  expect((await podgate('share', 'mypg', 'bob', 'READ')).code).toBe(0);
  expect(JSON.stringify(await json('share', 'mypg'))).toContain('bob');
  expect((await podgate('stop', 'mypg')).code).toBe(0);
  expect(await json('show', 'mypg')).toMatchObject({ status: 'STOPPED' });
  expect((await podgate('start', 'mypg')).code).toBe(0);
  expect(await json('show', 'mypg')).toMatchObject({ status: 'RUNNING' });
  const unasked = await podgate('delete', 'mypg');
  expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining('--yes')]);
  expect((await podgate('delete', 'mypg', '--yes')).code).toBe(0);
}, 120_000);

describe('mistakes', () => {
  test.each([
    [['lst'], 2, 'did you mean: podgate list?'],
    [['list', '--jsn'], 2, '--json'],
    [['show'], 2, 'pod'],
    [['show', 'nobody'], 1, 'there is no pod nobody'],
    [['create', 'x', '--template', 'postgres'], 1, 'pod_id'],
    [['install'], 2, 'subcommand'],
  ] as const)('%j gets one sentence, and no stack trace', async (args, code, sentence) => {
    const refused = await podgate(...args);
    expect([refused.code, refused.stdout]).toEqual([code, '']);
    expect(refused.stderr).toContain(sentence);
    expect(refused.stderr).not.toMatch(/^\s+at /m);
  });

  test('a pod name with a typo is found', async () => {
    await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
    expect((await podgate('show', 'helo')).stderr).toContain('did you mean hello?');
  });

  test('without a running Podgate the exit code is 3', async () => {
    const { code, stderr } = await podgateCommand({ dataDir: '/nonexistent' }, ['list']);
    expect([code, stderr]).toEqual([3, expect.stringContaining('npm start')]);
  });
});

test('install command links it into a directory, and replaces nothing else', async () => {
  const directory = join(program.dataDir, 'programs');
  for (let turn = 0; turn < 2; turn++) {
    expect((await podgate('install', 'command', '--directory', directory)).stdout).toContain('to your PATH');
  }
  const version = await run(join(directory, 'podgate'), ['list', '--json'], {
    env: { PODGATE_DATA_DIR: program.dataDir },
  });
  expect(version, version.stderr).toMatchObject({ code: 0 });
  rmSync(join(directory, 'podgate'));
  writeFileSync(join(directory, 'podgate'), 'of somebody else');
  const refused = await podgate('install', 'command', '--directory', directory);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('belongs to something else')]);
});

test('colors and live lines are for terminals only', async () => {
  const script = `import os, pty, sys
os.environ['TERM'] = 'xterm'
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))`;
  const env = { PODGATE_DATA_DIR: program.dataDir };
  const command = [process.execPath, 'cli/podgate.ts', 'create', 'shown', '--template', 'podgate/hello'];
  const onTerminal = await run('python3', ['-c', script, ...command], { env });
  expect(onTerminal.code, onTerminal.stdout).toBe(0);
  expect(onTerminal.stdout).toContain('\u001b[');
  const { stdout, stderr } = await podgate('list');
  expect(stdout + stderr).not.toContain('\u001b[');
});

test('a login is stored for its owner alone, and used from anywhere', async () => {
  const home = program.dataDir;
  const env = { HOME: home, XDG_CONFIG_HOME: `${home}/config` };
  const main = join(import.meta.dirname, '../../cli/podgate.ts');
  const origin = `https://localhost:${program.httpsPort}`;
  const args = ['-c', '"$0" cli/podgate.ts login "$1" --ca "$2" < "$3"', process.execPath, origin, program.caPath];
  const loggedIn = await run('sh', [...args, `${program.dataDir}/admin.token`], { env });
  expect(loggedIn, loggedIn.stderr).toMatchObject({ code: 0 });
  const { stdout } = await run('find', [`${home}/config`, '-type', 'f', '-printf', '%m\n']);
  expect(new Set(stdout.trim().split('\n'))).toEqual(new Set(['600']));
  const listed = await run(process.execPath, [main, 'list', '--json'], { env, cwd: '/' });
  expect(listed.code, listed.stderr).toBe(0);
  const refused = await run('sh', ['-c', 'echo wrong | "$0" cli/podgate.ts login "$1" --ca "$2"', ...args.slice(2)], {
    env,
  });
  expect(refused.code).toBe(1);
});
