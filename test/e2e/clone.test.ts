import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';

/** On a machine that is overloaded. */
const TEST_MS = 240_000;
const isPossible = process.platform === 'linux';
let program: Program;
beforeAll(async () => {
  program = await Program.start({ workers: 1 });
  await program.createPod({ pod_id: 'mypg', pod_template: 'postgres' });
}, TEST_MS);
afterAll(() => program.dispose());

async function query(podId: string, sql: string): Promise<readonly Record<string, unknown>[]> {
  const { body } = await program.get(`/v3/pods/${podId}/credentials`);
  const { user_username: user, user_password: password } = body.result as Record<string, string>;
  const name = `${podId}.pods.localhost`;
  const client = new Client({
    ...{ host: '127.0.0.1', port: program.httpsPort, database: user, ...(user === undefined ? {} : { user }) },
    ...(password === undefined ? {} : { password }),
    ssl: { ca: program.ca, servername: name },
  });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

test.skipIf(!isPossible)(
  'podgate clone creates a pod with the data of another one, which then changes independently',
  async () => {
    await query('mypg', 'create table kept as select 42 as answer');
    const cloned = await podgateCommand(program, ['clone', 'mypg', 'mypgcopy']);
    expect([cloned.code, cloned.stdout, cloned.stderr]).toEqual([
      0,
      expect.stringMatching(/mypgcopy is ready \(.* s\)\n {2}podgate psql mypgcopy\n$/) as string,
      expect.any(String) as string,
    ]);
    await query('mypgcopy', 'insert into kept values (43)');
    expect(await query('mypgcopy', 'select * from kept order by 1')).toEqual([{ answer: 42 }, { answer: 43 }]);
    expect(await query('mypg', 'select * from kept')).toEqual([{ answer: 42 }]);
    // The original is no longer needed.
    expect((await program.api('GET', '/v3/pods/mypg/stop')).status).toBe(200);
    await program.podStatus('mypg', 'STOPPED');
    expect((await program.api('GET', '/v3/pods/mypgcopy/restart')).status).toBe(200);
    await until('the clone has started again', async () => (await query('mypgcopy', 'select 1')).length === 1);
    const refused = await podgateCommand(program, ['clone', 'nosuchpod', 'another']);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('There is no pod "nosuchpod"') as string,
    ]);
  },
);

test.skipIf(!isPossible)(
  'podgate snapshots keeps the data of a pod, and podgate clone begins with it when the pod is gone',
  async () => {
    await query('mypgcopy', 'create table precious as select 7 as answer');
    const taken = await podgateCommand(program, ['snapshots', 'create', 'before', '--pod', 'mypgcopy']);
    expect([taken.code, taken.stdout, taken.stderr]).toEqual([0, 'before was made\n', '']);
    const listed = await podgateCommand(program, ['snapshots']);
    expect(listed.stdout).toMatch(/before +AVAILABLE .*pod mypgcopy/);
    await query('mypgcopy', 'drop table precious');
    const cloned = await podgateCommand(program, ['clone', 'mypgcopy', 'restored', '--snapshot', 'before']);
    expect([cloned.code, cloned.stderr]).toEqual([0, expect.any(String) as string]);
    expect(await query('restored', 'select * from precious')).toEqual([{ answer: 7 }]);
    const inPlace = await podgateCommand(program, ['snapshots', 'restore', 'before', '--yes']);
    expect([inPlace.code, inPlace.stderr]).toEqual([
      1,
      expect.stringContaining('podgate clone mypgcopy NEW_POD --snapshot before') as string,
    ]);
    const both = await podgateCommand(program, ['snapshots', 'create', 'other', 'vol', '--pod', 'mypgcopy']);
    expect(both.code).toBe(2);
    await podgateCommand(program, ['delete', 'mypgcopy', '--yes']);
    await podgateCommand(program, ['delete', 'restored', '--yes']);
  },
  TEST_MS,
);

test.skipIf(!isPossible)(
  'a clone whose control process is killed in the middle is completed',
  async () => {
    await program.api('GET', '/v3/pods/mypg/start');
    await program.podStatus('mypg', 'RUNNING');
    await query(
      'mypg',
      "create table large as select id, repeat('x', 1000) as text from generate_series(1, 200000) id",
    );
    await program.api('POST', '/v3/pods/mypg/clone', { pod_id: 'killedcopy' });
    await until('the copy is under way', async () => {
      const { status_container: container } = await podOf('killedcopy');
      return String((container as { message?: string }).message).startsWith('Copies the data of pod mypg.');
    });
    const [control] = program.children('control');
    if (control === undefined) throw new Error('no control process');
    process.kill(control.pid, 'SIGKILL');
    await program.podStatus('killedcopy', 'RUNNING', TEST_MS / 2);
    expect(await query('killedcopy', 'select count(*)::int as n, sum(length(text))::int as length from large')).toEqual(
      [{ n: 200_000, length: 200_000_000 }],
    );
  },
  TEST_MS,
);

test.skipIf(!isPossible)(
  'a snapshot whose control process is killed in the middle is taken again',
  async () => {
    const [control] = program.children('control');
    if (control === undefined) throw new Error('no control process');
    const taking = program
      .api('POST', '/v3/pods/snapshots', { snapshot_id: 'killed', source_pod_id: 'mypg' })
      .catch(() => null);
    const files = join(program.podsRoot, 'files');
    const isUnderWay = () => readdirSync(files).some((uid) => existsSync(join(files, uid, 'copy', 'pgdata', 'base')));
    await until('the copy is under way', isUnderWay);
    process.kill(control.pid, 'SIGKILL');
    await taking;
    await until(
      'it is complete',
      async () => {
        const { body } = await program.get('/v3/pods/snapshots/killed');
        return (body.result as { status?: string }).status === 'AVAILABLE';
      },
      { timeoutMs: TEST_MS / 2 },
    );
    expect(isUnderWay()).toBe(false);
    const cloned = await program.api('POST', '/v3/pods/mypg/clone', { pod_id: 'fromkilled', snapshot_id: 'killed' });
    expect(cloned.status).toBe(200);
    await program.podStatus('fromkilled', 'RUNNING', TEST_MS / 2);
    expect(await query('fromkilled', 'select count(*)::int as n from large')).toEqual([{ n: 200_000 }]);
  },
  TEST_MS,
);

async function podOf(podId: string): Promise<Record<string, unknown>> {
  return (await program.get(`/v3/pods/${podId}`)).body.result as Record<string, unknown>;
}
