import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOST, startPostgresStage, type PostgresStage } from '../support/postgres-stage.ts';

let stage: PostgresStage;

beforeAll(async () => {
  stage = await startPostgresStage();
});
afterAll(async () => {
  await stage.stop();
});

/** What people do with psql. Nothing in it says which server or session it was. */
function session(dir: string): string {
  return String.raw`
\set ON_ERROR_STOP 0
\pset pager off
\encoding
select 6 * 7 as answer, 'Größe 日本 😀' as text, null as nothing, now() > 'yesterday' as later;
create table things (id serial primary key, name text unique, made timestamptz default '2026-01-02 03:04:05+00');
insert into things (name) select 'thing ' || n from generate_series(1, 5) n returning id, name;
insert into things (name) values ('thing 1');
select * from nothing;
select 1/0;
do $$ begin raise notice 'a notice'; raise warning 'a warning' using hint = 'a hint'; end $$;
\d things
prepare by_name (text) as select id from things where name = $1;
execute by_name('thing 3');
execute by_name('none');
deallocate by_name;
\copy things (name) from '${dir}/names.txt'
\copy (select name from things order by id) to '${dir}/copied.txt'
copy (select * from things order by id limit 3) to stdout with (format csv, header);
copy things (name) from stdin;
typed in
here
\.
copy things (name) from stdin;
thing 1
\.
select count(*), md5(string_agg(name, ',' order by id)) from things;
\set FETCH_COUNT 7
select n from generate_series(1, 20) n;
\unset FETCH_COUNT
listen news;
notify news, 'heard';
select 1;
\lo_import '${dir}/blob'
\lo_list
select lo_get(:LASTOID, 0, 10) is not null, length(lo_get(:LASTOID));
\lo_export :LASTOID '${dir}/blob.back'
\lo_unlink :LASTOID
begin;
declare numbers cursor for select n from generate_series(1, 100) n;
fetch 3 from numbers;
move 90 in numbers;
fetch 2 from numbers;
savepoint here;
select 1/0;
rollback to here;
select 'goes on';
commit;
select 'select ' || n from generate_series(1, 3) n \gexec
set statement_timeout = 50;
select pg_sleep(30);
reset statement_timeout;
select repeat('x', 1000000) = :'long', length(:'long');
select string_agg(md5(n::text), '') from generate_series(1, 40000) n \g ${dir}/big.txt
drop table things;
`;
}

/** Everything psql says and writes in that session, with what differs from run to run by nature made equal. */
async function runSession(conninfo: string, env: Record<string, string>): Promise<readonly string[]> {
  const { dir } = stage;
  const blob = join(dir, 'blob');
  if (!existsSync(blob)) writeFileSync(blob, randomBytes(3_000_000));
  writeFileSync(join(dir, 'names.txt'), Array.from({ length: 5_000 }, (_, n) => `name\\t${n}\n`).join(''));
  const args = ['-X', '-v', `long=${'x'.repeat(100_000)}`, conninfo, '-f', '-'];
  const { code, stdout, stderr } = await stage.run('psql', args, { input: session(dir), env });
  const files = ['copied.txt', 'blob.back', 'big.txt'].map((name) => readFileSync(join(dir, name), 'latin1'));
  const said = `${code}\n${stdout}\n${stderr}`
    .replaceAll(/server process with PID \d+/g, 'server process')
    .replaceAll(/\blo_(import|unlink) \d+/g, 'lo_$1')
    .replaceAll(/^ *\d+ \| poduser \|.*$/gm, 'a large object');
  return [said, ...files];
}

describe('a session of psql', () => {
  it.each([
    ['libpq 15', {}, ''],
    ['libpq 18', { LD_LIBRARY_PATH: 'of the server' }, ''],
    [
      'libpq 18, direct TLS and protocol 3.2',
      { LD_LIBRARY_PATH: 'of the server' },
      'sslnegotiation=direct max_protocol_version=3.2',
    ],
  ])('with %s prints and writes the same as directly with the server', async (_name, variables, more) => {
    const env = 'LD_LIBRARY_PATH' in variables ? { LD_LIBRARY_PATH: stage.server.libraries } : {};
    const direct = await runSession(stage.direct(more), env);
    const throughGateway = await runSession(stage.conninfo(more), env);
    expect(throughGateway[0]).toBe(direct[0]);
    expect(throughGateway.slice(1).every((file, index) => file === direct[index + 1])).toBe(true);
    for (const word of [
      '42',
      'Größe 日本 😀',
      'NOTICE:  a notice',
      'HINT:  a hint',
      'division by zero',
      'goes on',
      'MOVE 90',
    ]) {
      expect(direct[0]).toContain(word);
    }
    expect(direct[0]).toContain('Asynchronous notification "news" with payload "heard"');
    expect(direct[0]).toContain('canceling statement due to statement timeout');
    expect(direct[2]).toBe(readFileSync(join(stage.dir, 'blob'), 'latin1'));
  });
});

describe("libpq's settings", () => {
  const one = async (more: string, env: Record<string, string> = {}) =>
    stage.psql(stage.conninfo(more), 'select 1', env);

  it.each(['require', 'verify-ca', 'verify-full', 'prefer', 'allow'])('sslmode=%s connects', async (mode) => {
    expect(await one(`sslmode=${mode}`)).toMatchObject({ code: 0, stdout: '1\n' });
  });

  it('channel_binding=prefer, the default, connects; require reports that it is not available', async () => {
    for (const env of [{}, { LD_LIBRARY_PATH: stage.server.libraries }]) {
      expect(await one('channel_binding=prefer', env)).toMatchObject({ code: 0, stdout: '1\n' });
      const { code, stderr } = await one('channel_binding=require', env);
      expect(stderr).toContain('channel binding');
      expect(code).toBe(2);
    }
  });

  it('require_auth=scram-sha-256 of libpq 18 works', async () => {
    const env = { LD_LIBRARY_PATH: stage.server.libraries };
    expect(await one('require_auth=scram-sha-256', env)).toMatchObject({ code: 0, stdout: '1\n' });
  });

  it('gssencmode=require reports that it is not available, and prefer connects', async () => {
    expect((await one('gssencmode=prefer')).code).toBe(0);
    expect((await one('gssencmode=require')).code).toBe(2);
  });

  it('a certificate of another CA is rejected by libpq', async () => {
    const other = join(stage.dir, 'other.pem');
    const made = await stage.run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', '/CN=other', '-keyout', join(stage.dir, 'other.key'), '-out', other],
    ]);
    expect(made.code).toBe(0);
    expect((await one(`sslrootcert=${other}`)).stderr).toContain('certificate verify failed');
  });

  it('keep-alive, target_session_attrs and several hosts keep working', async () => {
    const more = `host=${HOST},${HOST} hostaddr=127.0.0.1,127.0.0.1 target_session_attrs=read-write keepalives_idle=1`;
    expect(await one(more)).toMatchObject({ code: 0, stdout: '1\n' });
  });
});

describe('pgbench', () => {
  /** In one go, which its server answers in one go. */
  const PIPELINE = `\\startpipeline
select :client_id + 1;
select pg_sleep(0);
insert into done values (:client_id);
select repeat('x', 5000);
\\endpipeline
`;

  it.each(['simple', 'extended', 'prepared'])('runs with %s queries', async (mode) => {
    const file = join(stage.dir, 'select.sql');
    writeFileSync(file, 'select :client_id + 1;\nselect repeat($$y$$, 20000);\n');
    const args = ['-n', '-M', mode, '-c', '8', '-t', '50', '-f', file, stage.conninfo()];
    const { code, stdout, stderr } = await stage.run('pgbench', args);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('number of transactions actually processed: 400/400');
    expect(stdout).toMatch(/number of failed transactions: 0 /);
  });

  it('runs pipelines, and all of them arrive complete', async () => {
    await stage.psql(stage.direct(), 'create table if not exists done (client int)');
    const file = join(stage.dir, 'pipeline.sql');
    writeFileSync(file, PIPELINE);
    for (const mode of ['extended', 'prepared']) {
      await stage.psql(stage.direct(), 'truncate done');
      const args = ['-n', '-M', mode, '-c', '8', '-t', '50', '-f', file, stage.conninfo()];
      const { code, stderr } = await stage.run('pgbench', args);
      expect(code, stderr).toBe(0);
      expect((await stage.psql(stage.direct(), 'select count(*) from done')).stdout).toBe('400\n');
    }
  });
});
