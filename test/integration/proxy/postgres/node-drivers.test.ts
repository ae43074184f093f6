import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { route } from '../support/gateway-fixture.ts';
import { HOST, startPostgresStage, type PostgresStage } from '../support/postgres-stage.ts';

let stage: PostgresStage;

beforeAll(async () => {
  stage = await startPostgresStage(() => [route('off.pods.localhost', { protocol: 'postgres', status: 'STOPPED' })]);
});
afterAll(async () => {
  await stage.stop();
});

const target = (port: number, servername = HOST) => ({
  host: '127.0.0.1',
  port,
  user: stage.server.user,
  password: stage.server.password,
  database: 'postgres',
  ssl: { ca: stage.certificate.certificatePem, servername },
});
const digest = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex');
const BYTES = randomBytes(1_000_000);

/** The parts of an error that a program reads. */
async function failure(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    const { code, message, detail, hint, constraint_name, constraint, position } = error as Record<string, unknown>;
    return { code, message, detail, hint, constraint: constraint ?? constraint_name, position };
  }
}

async function withPg(port: number): Promise<unknown> {
  const client = new pg.Client({ ...target(port), application_name: 'a test' });
  await client.connect();
  const notices: unknown[] = [];
  client.on('notice', ({ message, severity }) => notices.push([severity, message]));
  const results: unknown[] = [];
  const values = [42, 'Größe 日本 😀', null, BYTES, { a: [1] }, ['x', null], new Date(0), true];
  const text =
    'select $1::int, $2::text, $3::text, $4::bytea, $5::jsonb, $6::text[], $7::timestamptz, $8::bool, current_setting($$application_name$$)';
  for (let round = 0; round < 3; round++) results.push((await client.query({ name: 'types', text, values })).rows);
  await client.query('create temp table t (id int primary key)');
  results.push(await failure(client.query('insert into t values (1), (1)')));
  results.push(await failure(client.query('select x from t')));
  await client.query('begin');
  results.push(await failure(client.query('select 1/0')), await failure(client.query('select 1')));
  await client.query('rollback');
  // Of several statements it gives several results, which its types do not know.
  const several = (await client.query('select 1 as one; select 2 as two')) as unknown as pg.QueryResult<object>[];
  results.push(several.map(({ rows }) => rows));
  await client.query("do $$ begin raise notice 'noted'; end $$");
  const big = 'x'.repeat(5_000_000);
  results.push(digest((await client.query<{ big: string }>('select $1::text as big', [big])).rows[0]?.big ?? ''));
  const heard = once(client, 'notification') as Promise<[pg.Notification]>;
  await client.query('listen news');
  await client.query("select pg_notify('news', 'heard')");
  results.push((await heard)[0].payload, notices);
  await client.end();

  const piped = new pg.Client({ ...target(port), pipeline: true });
  await piped.connect();
  const many = Array.from({ length: 200 }, (_, n) => piped.query<{ n: number }>('select $1::int as n', [n]));
  const failed = failure(piped.query('select 1/0'));
  results.push(
    (await Promise.all(many)).map(({ rows }) => rows[0]?.n),
    await failed,
  );
  await piped.end();

  const pool = new pg.Pool({ ...target(port), max: 5 });
  const pooled = await Promise.all(Array.from({ length: 50 }, (_, n) => pool.query<{ n: number }>(`select ${n} as n`)));
  results.push(pooled.map(({ rows }) => rows[0]?.n));
  await pool.end();
  return results;
}

async function withPostgresJs(port: number): Promise<unknown> {
  const notices: unknown[] = [];
  const options = { ...target(port), max: 3, onnotice: ({ message }: postgres.Notice) => notices.push(message) };
  const sql = postgres(options);
  const results: unknown[] = [];
  for (let round = 0; round < 3; round++) {
    results.push([
      ...(await sql`select ${42}::int as i, ${'Größe 日本 😀'} as text, ${null}::text as nothing, ${BYTES} as bytes, ${sql.json({ a: [1] })} as json`),
    ]);
  }
  await sql`create table if not exists lines (line text)`;
  await sql`truncate lines`;
  const lines = Array.from({ length: 100_000 }, (_, n) => `line ${n}\n`).join('');
  await pipeline(Readable.from([Buffer.from(lines)]), await sql`copy lines from stdin`.writable());
  const chunks: Buffer[] = [];
  for await (const chunk of await sql`copy lines to stdout`.readable()) chunks.push(chunk as Buffer);
  results.push(Buffer.concat(chunks).toString() === lines);
  await sql`drop table lines`;

  let sum = 0;
  await sql`select n from generate_series(1, 5000) n`.cursor(97, (rows) => {
    for (const { n } of rows) sum += Number(n);
  });
  results.push(sum);
  results.push(await sql.begin(async (tx) => [...(await tx`select 1 as one`), ...(await tx`select 2 as two`)]));
  results.push(await failure(sql.begin((tx) => tx`select 1/0`)), await failure(sql`select nothing`));
  results.push(
    await sql.begin(async (tx) => {
      const [made] = await tx<{ oid: number }[]>`select lo_from_bytea(0, ${BYTES}) as oid`;
      const [row] = await tx<{ bytes: Buffer }[]>`select lo_get(${made?.oid ?? 0}) as bytes`;
      return digest(row?.bytes ?? '') === digest(BYTES);
    }),
  );
  let unlisten = (): void => undefined;
  const heard = new Promise<string>((resolve) => {
    void sql.listen('news', resolve, () => unlisten());
  });
  await new Promise<void>((resolve) => (unlisten = resolve));
  await sql.notify('news', 'heard');
  results.push(await heard);
  const many = await Promise.all(Array.from({ length: 300 }, (_, n) => sql`select ${n}::int as n`));
  results.push(many.map(([row]) => (row as { n: number } | undefined)?.n));
  await sql`do $$ begin raise notice 'noted'; end $$`;
  results.push(notices.filter((message) => message === 'noted'));
  const query = sql`select pg_sleep(30)`.simple();
  const ended = failure(query);
  while (!(await stage.isRunning('select pg_sleep(30)'))) await new Promise((resolve) => setTimeout(resolve, 20));
  query.cancel();
  results.push(await ended);
  await sql.end();
  return results;
}

describe('works through the gateway as with the server itself', () => {
  it('npm pg', async () => {
    expect(await withPg(stage.fixture.httpsPort)).toEqual(await withPg(stage.server.port));
  });

  it('npm postgres', async () => {
    const results = await withPostgresJs(stage.fixture.httpsPort);
    expect(results).toEqual(await withPostgresJs(stage.server.port));
    expect((results as unknown[]).at(-1)).toMatchObject({ code: '57014' });
  });

  it('direct TLS of npm pg, with ALPN', async () => {
    const client = new pg.Client({ ...target(stage.fixture.httpsPort), sslnegotiation: 'direct' });
    await client.connect();
    expect((await client.query('select 42 as answer')).rows).toEqual([{ answer: 42 }]);
    await client.end();
  });
});

describe('a refusal', () => {
  it('is an error with code, detail and hint in npm pg', async () => {
    const client = new pg.Client(target(stage.fixture.httpsPort, 'off.pods.localhost'));
    expect(await failure(client.connect())).toMatchObject({
      code: '57P03',
      message: 'Pod off is not running: its status is STOPPED.',
      detail: expect.stringMatching(/^Request id: \S+\.$/) as string,
      hint: expect.stringContaining('Start it: GET') as string,
    });
  });

  it('is an error with them in npm postgres', async () => {
    const sql = postgres({ ...target(stage.fixture.httpsPort, 'off.pods.localhost'), max: 1 });
    expect(await failure(sql`select 1`)).toMatchObject({
      code: '57P03',
      hint: expect.stringContaining('Start it') as string,
    });
    await sql.end();
  });

  it('of a client without TLS says what to set', async () => {
    const plain = { ...target(stage.fixture.httpsPort), ssl: false };
    const hint = expect.stringContaining('sslmode=require') as string;
    expect(await failure(new pg.Client(plain).connect())).toMatchObject({ code: '28000', hint });
    const sql = postgres({ ...plain, max: 1 });
    expect(await failure(sql`select 1`)).toMatchObject({ code: '28000', hint });
    await sql.end();
  });
});
