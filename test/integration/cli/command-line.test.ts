import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Program } from '../../support/program.ts';
import { run, type RunResult } from '../../support/run.ts';
import { until } from '../../support/until.ts';

const ROOT = join(import.meta.dirname, '../../..');
const PODGATE = join(ROOT, 'podgate');
/** Runs a command on a terminal of its own; what is on stdin is typed. */
const ON_A_TERMINAL = 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)';
/** What Node looks at for colors. The checks run with NO_COLOR and often with CI, so a person's terminal has neither. */
const COLOR_VARIABLES = ['CI', 'NO_COLOR', 'FORCE_COLOR', 'NODE_DISABLE_COLORS', 'COLORTERM', 'TMUX', 'TERM_PROGRAM'];
const TYPE_ON_TERMINAL = join(import.meta.dirname, 'type-on-terminal.py');
const ANSI_COLOR = '\u001b[3';

const directory = mkdtempSync(join(tmpdir(), 'podgate-cli-'));
let program: Program;
let local: Record<string, string>;
let remote: Record<string, string>;

beforeAll(async () => {
  program = await Program.start({ workers: 1 });
  remote = { XDG_CONFIG_HOME: join(directory, 'config'), PODGATE_DATA_DIR: '', TERM: 'xterm' };
  local = { ...remote, PODGATE_DATA_DIR: program.dataDir };
}, 120_000);
afterAll(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true });
});

const podgate = (args: readonly string[], env = local, input = ''): Promise<RunResult> =>
  run(PODGATE, args, { env, input, cwd: directory });
const onTerminal = (args: readonly string[], env = local, input = ''): Promise<RunResult> => {
  const without = COLOR_VARIABLES.filter((name) => !(name in env)).flatMap((name) => ['-u', name]);
  return run('env', [...without, 'python3', '-c', ON_A_TERMINAL, PODGATE, ...args], { env, input, cwd: directory });
};

describe('podgate with the installation of a data directory', () => {
  it('creates a Postgres pod with plain progress lines, and its connection strings work', async () => {
    const created = await podgate(['create', 'mypg', '--template', 'postgres']);
    expect(created).toMatchObject({ code: 0 });
    expect(created.stdout).toMatch(/^mypg is ready \(\d+\.\d s\)\n {2}\S+\/podgate psql mypg\n$/);
    expect(created.stderr).toMatch(/^(mypg: [a-z]+.* \(\d+\.\d s\)\n)+$/);

    const url = (await podgate(['url', 'mypg'])).stdout.trim();
    expect(await run('psql', [url, '-Atc', 'select 40 + 2'])).toMatchObject({ code: 0, stdout: '42\n' });
    const script = `eval "$('${PODGATE}' env mypg)" && psql -Atc 'select 43'`;
    expect(await run('sh', ['-c', script], { env: local, cwd: directory })).toMatchObject({ code: 0, stdout: '43\n' });
    expect(await podgate(['psql', 'mypg', '-Atc', 'select 44'])).toMatchObject({ code: 0, stdout: '44\n' });
  });

  it('prints the API’s JSON, tables without colors into a pipe, and colors only on a terminal', async () => {
    const pods = JSON.parse((await podgate(['list', '--json'])).stdout) as { pod_id: string }[];
    expect(pods.map(({ pod_id: podId }) => podId)).toEqual(['mypg']);
    expect(JSON.parse((await podgate(['show', 'mypg', '--json'])).stdout)).toMatchObject({ status: 'RUNNING' });
    expect((await podgate(['list', '--quiet'])).stdout).toBe('mypg\n');
    const piped = await podgate(['list']);
    expect(piped.stdout).toMatch(/^POD +STATUS +TEMPLATE +ADDRESS +UP\nmypg +RUNNING +postgres /);
    expect((await onTerminal(['list'])).stdout).toContain(ANSI_COLOR);
    expect((await onTerminal(['list'], { ...local, NO_COLOR: '1' })).stdout).not.toContain(ANSI_COLOR);
  });

  it('suggests the likely command, and never shows a stack trace', async () => {
    for (const [args, code, said] of [
      [['lsit'], 2, `podgate: there is no command "lsit"; did you mean: ${PODGATE} list?\n`],
      [['show', 'mypq'], 1, 'podgate: there is no pod mypq; did you mean mypg?\n'],
      [['list', '--jsn'], 2, `podgate: unknown option '--jsn' (Did you mean --json?); see: ${PODGATE} list --help\n`],
      [['url', 'mypg', '--driver', 'jdcb'], 2, 'podgate: --driver jdcb: unknown; did you mean jdbc?\n'],
      [['delete', 'mypg'], 2, 'podgate: nothing was deleted: without a terminal to ask on, use --yes\n'],
    ] as const) {
      expect(await podgate(args)).toEqual({ code, stdout: '', stderr: said });
    }
    const absent = await podgate(['list'], { ...local, PODGATE_DATA_DIR: join(directory, 'none') });
    expect(absent).toMatchObject({ code: 3, stdout: '' });
    expect(absent.stderr).toMatch(/^podgate: no Podgate has run with the data directory .*\n$/);
  });

  it('follows the output of a pod without gap or repetition, until Ctrl-C', async () => {
    const ticks = 'n=0; while sleep 0.1; do n=$((n+1)); echo "tick $n."; [ $n -lt 500 ] || sleep 1000; done';
    const command = ['create', 'ticker', '--template', 'podgate/process', '--no-wait', '--', 'sh', '-c', ticks];
    expect(await podgate(command)).toMatchObject({ code: 0 });
    await until('it prints', async () => (await podgate(['logs', 'ticker'])).stdout.includes('tick 3.'));
    const child = spawn(PODGATE, ['logs', 'ticker', '--follow'], { env: { ...process.env, ...local }, cwd: directory });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await until('it has followed for a while', () => output.includes('tick 25.'));
    child.kill('SIGINT');
    expect(await ended).toBe(0);
    const numbers = [...output.matchAll(/tick (\d+)\./g)].map(([, number]) => Number(number));
    expect(numbers).toEqual(numbers.map((_, at) => at + 1));
    expect((await podgate(['logs', 'ticker', '--tail', '1'])).stdout).toMatch(/^tick \d+\.\n$/);
  });

  it('manages files in volumes and snapshots, secrets and templates', async () => {
    const file = join(directory, 'may.csv');
    writeFileSync(file, 'a,b\n');
    expect(await podgate(['volumes', 'create', 'mydata', '--size', '100'])).toMatchObject({ code: 0 });
    expect((await podgate(['volumes', 'put', 'mydata', file, '2026/may.csv'])).stdout).toBe(
      'mydata: 2026/may.csv (4 bytes)\n',
    );
    expect((await podgate(['volumes', 'files', 'mydata', '2026'])).stdout).toMatch(/ 4 +\S+ +\/2026\/may\.csv\n$/);
    expect((await podgate(['volumes', 'get', 'mydata', '2026/may.csv', '-'])).stdout).toBe('a,b\n');
    expect((await podgate(['snapshots', 'create', 'before', 'mydata'])).stdout).toBe('before was made\n');
    expect(await podgate(['volumes', 'put', 'mydata', file, 'later.csv'])).toMatchObject({ code: 0 });
    expect((await podgate(['snapshots', 'restore', 'before'])).stderr).toContain('use --yes');
    expect((await podgate(['snapshots', 'restore', 'before', '--yes'])).stdout).toBe('before was restored to mydata\n');
    expect((await podgate(['volumes', 'files', 'mydata'])).stdout).not.toContain('later.csv');
    expect((await podgate(['volumes', 'get', 'mydata', '2026/may.csv', '-'])).stdout).toBe('a,b\n');
    expect(await podgate(['volumes', 'rm', 'mydata', '2026'])).toMatchObject({
      ...{ code: 1, stdout: '' },
      stderr: 'podgate: path: "2026" is a directory that is not empty; delete what is in it first\n',
    });
    expect((await podgate(['volumes', 'rm', 'mydata', '..'])).stderr).toBe(
      'podgate: path: must not contain "." or ".." as a name\n',
    );
    expect((await podgate(['volumes', 'rm', 'mydata', '2026/may.csv'])).stdout).toBe(
      'mydata: 2026/may.csv was deleted\n',
    );
    expect((await podgate(['volumes', 'rm', 'mydata', '2026', '--json'])).stdout).toBe(
      '{"volume_id":"mydata","path":"2026","deleted":true}\n',
    );
    expect((await podgate(['volumes', 'rm', 'mydata', '2026'])).stderr).toBe('podgate: path: there is no "2026".\n');
    expect((await podgate(['volumes', 'delete', 'mydat', '--yes'])).stderr).toContain('did you mean mydata?');
    expect((await podgate(['volumes', 'delete', 'mydata'])).stderr).toContain('use --yes');
    expect((await podgate(['volumes', 'delete', 'mydata', '--yes'])).stdout).toBe('mydata was deleted\n');
    const copied = await podgate(['snapshots', 'get', 'before', '2026/may.csv', directory, '--json']);
    expect(JSON.parse(copied.stdout)).toEqual({ path: file, size: 4 });
    expect((await podgate(['snapshots', 'delete', 'before', '--yes', '--json'])).stdout).toBe(
      '{"snapshot_id":"before","deleted":true}\n',
    );
    for (const value of ['one', 'two']) {
      expect(await podgate(['secrets', 'set', 'pass'], local, `${value}\n`)).toMatchObject({ code: 0 });
      expect((await podgate(['secrets', 'value', 'pass'])).stdout).toBe(`${value}\n`);
    }
    expect(await podgate(['secrets', 'set', 'pass'], local, '')).toMatchObject({ code: 2 });
    writeFileSync(join(directory, 'pod.json'), '{"template": "podgate/hello"}');
    const publish = ['templates', 'publish', 'greeter:v1', join(directory, 'pod.json'), '-m', 'First.'];
    expect((await podgate(publish)).stdout).toMatch(/^greeter:v1@/);
    expect((await podgate(['templates', 'tags', 'greeter'])).stdout).toContain('First.');
    expect((await podgate(['templates'])).stdout).toMatch(/^greeter/m);
  });

  it('stops, starts, restarts, shares, and deletes after confirmation', async () => {
    expect((await podgate(['stop', 'mypg'])).stdout).toMatch(/^mypg is stopped/);
    expect((await podgate(['start', 'mypg'])).stdout).toMatch(/^mypg is ready/);
    expect((await podgate(['restart', 'mypg'])).stdout).toMatch(/^mypg is ready/);
    expect((await podgate(['psql', 'mypg', '-Atc', 'select 1'])).stdout).toBe('1\n');
    const shared = await podgate(['share', 'mypg', 'alice', 'user', '--json']);
    expect(JSON.parse(shared.stdout)).toContainEqual({ user: 'alice', level: 'USER' });
    expect((await podgate(['share', 'mypg', 'alice', '--remove'])).stdout).not.toContain('alice');
    expect((await onTerminal(['delete', 'ticker'], local, 'n')).stdout).toContain('nothing was deleted');
    expect((await podgate(['list', '--quiet'])).stdout).toContain('ticker');
    expect((await onTerminal(['delete', 'ticker'], local, 'y')).stdout).toContain('ticker is being deleted');
    expect((await podgate(['list', '--quiet'])).stdout).toBe('mypg\n');
  });

  it('opens a terminal in a pod with exec -it, with the size of this one, and always restores this one at the end', async () => {
    const type = async (steps: readonly object[], args: readonly string[]) => {
      const driven = await run('python3', [TYPE_ON_TERMINAL, JSON.stringify(steps), PODGATE, ...args], {
        env: local,
        cwd: directory,
      });
      expect(driven).toMatchObject({ code: 0, stderr: '' });
      return JSON.parse(driven.stdout) as { code: number; shown: string; wasRaw: boolean; isRestored: boolean };
    };
    const exec = ['exec', '-it', 'mypg', '--', 'sh', '-c', 'echo be""gun; exec sh'];
    const ended = await type(
      [
        ...[{ wait: 'begun' }, { type: 'stty size\r' }, { wait: '24 80' }],
        ...[{ size: [50, 132] }, { type: 'sleep 1; stty size\r' }, { wait: '50 132' }, { type: 'exit 7\r' }],
      ],
      exec,
    );
    expect(ended).toMatchObject({ code: 7, wasRaw: true, isRestored: true });
    expect(ended.shown).toContain('50 132');
    // Ctrl-C is for what runs there.
    const catching = `trap 'echo caught; exit 8' INT; echo begun; while :; do sleep 1; done`;
    const interrupted = await type(
      [{ wait: 'begun' }, { type: '\x03' }, { wait: 'caught' }],
      ['exec', '-it', 'mypg', '--', 'sh', '-c', catching],
    );
    expect(interrupted).toMatchObject({ code: 8, isRestored: true });
    const killed = await type([{ wait: 'begun' }, { signal: constants.signals.SIGTERM }], exec);
    expect(killed).toMatchObject({ code: 128 + constants.signals.SIGTERM, wasRaw: true, isRestored: true });
    // The terminal that this makes has no size.
    const sizeless = await onTerminal(['exec', '-it', 'mypg', '--', 'sh', '-c', 'stty size; exit 3']);
    expect(sizeless).toMatchObject({ code: 3, stdout: expect.stringContaining('24 80') as string });
    const absent = await type([], ['exec', '-it', 'nopod', '--', 'sh']);
    expect(absent).toMatchObject({ code: 1, wasRaw: false, isRestored: true });
    expect(absent.shown).toContain('nopod');
    expect(await podgate(['exec', '-t', 'mypg', '--', 'sh'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('must be a terminal') as string,
    });
  });

  it('waits for no key of a pager on a terminal without a size, unless psql has a pager of its own', async () => {
    const PAGER = "sh -c 'echo paged; cat'";
    const query = ['psql', 'mypg', '-c', 'select 45'];
    const plain = await onTerminal(query, { ...local, PAGER });
    expect(plain).toMatchObject({ code: 0, stdout: expect.stringContaining('45') as string });
    expect(plain.stdout).not.toContain('paged');
    expect((await onTerminal(query, { ...local, PSQL_PAGER: PAGER })).stdout).toContain('paged');
  });

  it('runs commands in a pod with their exit code, and copies files to it and back', async () => {
    expect(await podgate(['exec', 'mypg', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({
      ...{ code: 7, stdout: 'out\n', stderr: 'err\n' },
    });
    const piped = await podgate(['exec', '-i', 'mypg', '--json', '--', 'wc', '-c'], local, '12345');
    expect(JSON.parse(piped.stdout)).toMatchObject({ stdout: expect.stringContaining('5') as string, exit_code: 0 });
    const ended = await podgate(['exec', 'mypg', '--timeout', '1s', '--', 'sleep', '60']);
    expect(ended).toMatchObject({ code: 124, stderr: expect.stringMatching(/^podgate: Ended after 1 s/) as string });
    expect(await podgate(['exec', 'mypq', '--', 'true'])).toMatchObject({
      code: 1,
      stderr: 'podgate: there is no pod mypq; did you mean mypg?\n',
    });

    const bytes = randomBytes(3_000_000);
    writeFileSync(join(directory, 'some "data".bin'), bytes);
    const there = await podgate(['cp', 'some "data".bin', 'mypg:copies/', '--json']);
    expect(JSON.parse(there.stdout)).toMatchObject({ size: bytes.length });
    const { path } = JSON.parse(there.stdout) as { path: string };
    expect(await podgate(['cp', `mypg:${path}`, 'back.bin'])).toMatchObject({ code: 0 });
    expect(readFileSync(join(directory, 'back.bin')).equals(bytes)).toBe(true);
    expect(await podgate(['cp', `mypg:${path}`, '.'])).toMatchObject({ code: 0 });
    writeFileSync(join(directory, 'empty'), '');
    expect(await podgate(['cp', 'empty', 'mypg:copies/empty'])).toMatchObject({ code: 0 });
    expect(await podgate(['cp', 'mypg:copies/empty', '-'])).toEqual({ code: 0, stdout: '', stderr: '' });
    for (const [args, code, said] of [
      [['cp', 'a', 'b'], 2, /name one file of a pod/],
      [['cp', 'none', 'mypg:x'], 1, /^podgate: there is no file none\n$/],
      [['cp', '.', 'mypg:x'], 1, /is not a file/],
      [['cp', 'mypg:none', 'x'], 1, /There is no file "none" in the pod/],
    ] as const) {
      expect(await podgate(args)).toEqual({ code, stdout: '', stderr: expect.stringMatching(said) as string });
    }
    expect(readdirSync(directory).filter((name) => name.startsWith('.podgate-'))).toEqual([]);
  });

  it('links itself into a directory of the PATH, and replaces nothing else there', async () => {
    const programs = join(directory, 'programs');
    for (let turn = 0; turn < 2; turn++) {
      expect((await podgate(['install', 'command', '--directory', programs])).stdout).toContain('to your PATH');
    }
    const linked = await run(join(programs, 'podgate'), ['list', '--quiet'], { env: local });
    expect(linked, linked.stderr).toMatchObject({ code: 0 });
    const byName = await run('podgate', ['lsit'], { env: { PATH: `${programs}:${process.env['PATH'] ?? ''}` } });
    expect(byName.stderr).toContain('did you mean: podgate list?');
    rmSync(join(programs, 'podgate'));
    writeFileSync(join(programs, 'podgate'), 'of somebody else');
    const refused = await podgate(['install', 'command', '--directory', programs]);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('belongs to something else')]);
  });

  it('gives hints that work when pasted, whether it was called by a path or by npx', async () => {
    expect((await run('./podgate', ['lsit'], { cwd: ROOT })).stderr).toContain('did you mean: ./podgate list?');
    expect((await run('./podgate', ['psql', '--help'], { cwd: ROOT })).stdout).toContain('\n  ./podgate psql mypg ');
    // As npx sets it.
    const env = { npm_command: 'exec' };
    const byNpx = await run(process.execPath, [join(ROOT, 'bin/podgate.mjs'), 'lsit'], { env });
    expect(byNpx.stderr).toContain('did you mean: npx podgate list?');
  });

  it('shows the progress of a pod on one live line of a terminal', async () => {
    const { stdout } = await onTerminal(['create', 'hello', '--template', 'podgate/hello']);
    expect(stdout).toContain('\r\u001b[K');
    expect(stdout).toMatch(/hello is ready \(\d+\.\d s\)/);
  });
});

describe('podgate with a login', () => {
  const url = (): string => `https://localhost:${program.httpsPort}`;

  it('checks the token and the CA, stores them for the current user only, and deletes them', async () => {
    const unknown = await podgate(['login', url()], remote, program.token);
    expect(unknown).toMatchObject({ code: 1 });
    expect(unknown.stderr).toContain(`is signed by a CA this machine does not trust`);
    const login = ['login', url(), '--ca', program.caPath, '--profile', 'work'];
    expect(await podgate(login, remote, 'no.real.token')).toMatchObject({ code: 1 });
    const loggedIn = await podgate(login, remote, `${program.token}\n`);
    expect(loggedIn).toMatchObject({ code: 0, stderr: '' });
    expect(loggedIn.stdout).toContain(`logged in to ${url()} as admin (profile work)`);
    for (const name of ['logins.json', 'work.ca.pem']) {
      expect(statSync(join(directory, 'config/podgate', name)).mode & 0o777).toBe(0o600);
    }
    expect(await podgate(['psql', 'mypg', '-Atc', 'select 45'], remote)).toMatchObject({ code: 0, stdout: '45\n' });
    expect((await podgate(['list', '--quiet', '--profile', 'wrok'], remote)).stderr).toContain('did you mean work?');
    expect((await podgate(['login'], remote)).stdout).toContain(`* work  ${url()}  admin`);
    expect(await podgate(['logout'], remote)).toMatchObject({ code: 0 });
    expect(await podgate(['list'], { ...remote, PODGATE_DATA_DIR: join(directory, 'none') })).toMatchObject({
      code: 3,
    });
  });

  it('refuses to send a token unencrypted over a network', async () => {
    const { code, stderr } = await podgate(['login', 'http://pods.example.org'], remote, program.token);
    expect(code).toBe(2);
    expect(stderr).toContain('must begin with https://');
  });
});

describe('completion', () => {
  const scriptFor = async (shell: string): Promise<string> => {
    const path = join(directory, `completion.${shell}`);
    writeFileSync(path, (await podgate(['completion', shell])).stdout);
    return path;
  };
  const withPath = () => ({ ...local, PATH: `${ROOT}:${process.env['PATH'] ?? ''}` });

  it('bash completes commands, options and pods', async () => {
    const path = await scriptFor('bash');
    const complete = async (...words: readonly string[]): Promise<string> => {
      const script = `. '${path}'; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _podgate; echo "\${COMPREPLY[@]}"`;
      return (await run('bash', ['-c', script, 'bash', ...words], { env: withPath(), cwd: directory })).stdout.trim();
    };
    expect(await complete('podgate', 'conn')).toBe('connections');
    expect(await complete('podgate', 'logs', '--fo')).toBe('--follow');
    expect(await complete('podgate', 'certs', 're')).toBe('renew');
    expect(await complete('podgate', 'show', 'my')).toBe('mypg');
  });

  it('zsh completes commands, options and pods, from the first tab on', async () => {
    writeFileSync(join(directory, '_podgate'), (await podgate(['completion', 'zsh'])).stdout);
    // A shell on a terminal of its own. Each read waits for its pattern; the tests' time limit ends a wait in vain.
    const script = `zmodload zsh/zpty; zpty z 'zsh -f -i'
zpty -w z "fpath=('$1' \\$fpath); autoload -U compinit; compinit -u -D; print REA''DY"; zpty -r -m z out '*READY*'
zpty -w -n z $'podgate conn\\t'; zpty -r -m z out '*podgate connections*' && print commands
zpty -w -n z $'\\x15podgate logs --fo\\t'; zpty -r -m z out '*podgate logs --follow*' && print options
zpty -w -n z $'\\x15podgate show my\\t'; zpty -r -m z out '*podgate show mypg*' && print pods`;
    const { stdout } = await run('zsh', ['-f', '-c', script, 'zsh', directory], { env: withPath(), cwd: directory });
    expect(stdout).toBe('commands\noptions\npods\n');
  });

  it('fish completes commands, options and pods', async () => {
    const path = await scriptFor('fish');
    const complete = async (line: string): Promise<string> => {
      const script = `source '${path}'; complete -C '${line}'`;
      return (await run('fish', ['--no-config', '-c', script], { env: withPath(), cwd: directory })).stdout;
    };
    expect(await complete('podgate conn')).toMatch(/^connections\t/);
    expect(await complete('podgate logs --fo')).toMatch(/^--follow\t/);
    expect(await complete('podgate show my')).toBe('mypg\n');
  });
});
