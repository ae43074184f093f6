import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePorts } from '../support/free-ports.ts';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

const HELLO = 'hello.pods.localhost';
const MYPG = 'mypg.pods.localhost';

let directory: string;
let configPath: string;
let program: Program;
let ports: readonly number[];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'podgate-listeners-'));
  configPath = join(directory, 'podgate.yaml');
  ports = await freePorts(2);
  await writeFile(configPath, `listeners: [${ports.map((port) => `{port: ${port}}`).join(', ')}]\n`);
  program = await Program.start({ workers: 2, env: { PODGATE_CONFIG: configPath } });
  await Promise.all([
    program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' }),
    program.createPod({ pod_id: 'mypg', pod_template: 'postgres' }),
  ]);
}, 120_000);
afterAll(async () => {
  await program.dispose();
  await rm(directory, { recursive: true });
});

async function curl(port: number): Promise<string> {
  const { stdout, stderr } = await run('curl', [
    ...['-sS', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '20', '--cacert', program.caPath],
    ...['--resolve', `${HELLO}:${port}:127.0.0.1`, `https://${HELLO}:${port}/`],
  ]);
  return stdout + stderr;
}

async function psql(port: number): Promise<string> {
  const { body } = await program.api('GET', '/v3/pods/mypg/credentials');
  const { user_password: password } = (body as { result: { user_password: string } }).result;
  const conninfo =
    `host=${MYPG} hostaddr=127.0.0.1 port=${port} user=mypg dbname=mypg connect_timeout=20 ` +
    `sslmode=verify-full sslrootcert=${program.caPath}`;
  const { stdout, stderr } = await run('psql', ['-X', '-At', conninfo, '-c', 'select 6 * 7'], {
    env: { PGPASSWORD: password },
  });
  return stdout + stderr;
}

it('every listener serves every protocol, in every worker', async () => {
  // The kernel spreads connections over the sockets of the workers.
  for (const port of [program.httpsPort, ...ports]) {
    expect(await Promise.all(Array.from({ length: 8 }, () => curl(port)))).toEqual(Array(8).fill('200'));
    expect(await Promise.all(Array.from({ length: 4 }, () => psql(port)))).toEqual(Array(4).fill('42\n'));
  }
});

it('doctor checks each', async () => {
  const { stdout } = await podgateCommand(program, ['doctor'], { PODGATE_CONFIG: configPath });
  for (const port of ports) expect(stdout).toContain(`Port ${port} is served as well.`);
});

it('they continue over a restart, which cannot change them and says so', async () => {
  expect((await podgateCommand(program, ['restart'], { PODGATE_CONFIG: configPath })).stdout).toBe('restarted\n');
  for (const port of ports) expect(await curl(port)).toBe('200');
  await writeFile(configPath, 'listeners: []\n');
  const refused = await podgateCommand(program, ['restart'], { PODGATE_CONFIG: configPath });
  expect(refused.stderr).toContain('PODGATE_CONFIG listeners cannot be changed while Podgate is running');
  for (const port of ports) expect(await curl(port)).toBe('200');
}, 60_000);

it('one whose port is in use keeps Podgate from starting, and is named', async () => {
  const [port = 0] = ports;
  const taken = join(directory, 'taken.yaml');
  await writeFile(taken, `listeners: [{port: ${port}}]\n`);
  const { code, stderr } = await run(process.execPath, [join(import.meta.dirname, '..', '..', 'main.ts')], {
    env: {
      PODGATE_CONFIG: taken,
      PODGATE_DATA_DIR: join(directory, 'data'),
      PODGATE_HTTPS_PORT: '0',
      PODGATE_HTTP_PORT: '0',
      PODGATE_CONTROL_PORT: '0',
    },
    cwd: directory,
  });
  expect(code).toBe(78);
  expect(stderr).toContain(`PODGATE_CONFIG listeners: port ${port} is already in use on 127.0.0.1`);
}, 60_000);
