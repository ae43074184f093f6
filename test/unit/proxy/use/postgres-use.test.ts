import { describe, expect, it } from 'vitest';
import { RouteTable } from '../../../../proxy/routes/route-table.ts';
import { PodUses } from '../../../../proxy/use/pod-uses.ts';
import { SessionUse } from '../../../../proxy/use/session-use.ts';
import { classifyStatement } from '../../../../proxy/use/postgres-statement.ts';
import { PostgresUse } from '../../../../proxy/use/postgres-use.ts';
import { Fuzz, SEED } from '../fuzz.ts';

const text = (value: string): Buffer => Buffer.from(`${value}\0`);

function message(type: string, ...body: readonly Buffer[]): Buffer {
  const all = Buffer.concat(body);
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(4 + all.length, 1);
  return Buffer.concat([header, all]);
}

const startup = (): Buffer => {
  const body = Buffer.from('\0\x03\0\0user\0alice\0\0');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(4 + body.length);
  return Buffer.concat([length, body]);
};
const query = (sql: string): Buffer => message('Q', text(sql));
const parse = (name: string, sql: string): Buffer => message('P', text(name), text(sql), Buffer.alloc(2));
const bind = (name: string): Buffer => message('B', text(''), text(name), Buffer.alloc(6));
const execute = message('E', text(''), Buffer.alloc(4));
const sync = message('S');
const ready = (status: string): Buffer => message('Z', Buffer.from(status));
const login = Buffer.concat([message('R', Buffer.alloc(4)), message('S', text('a'), text('b')), ready('I')]);

/** A session after its login. */
class Session {
  readonly #clock = { nowMs: 1_000, now: (): number => this.#clock.nowMs };
  readonly #pod = new PodUses(new RouteTable(), this.#clock).of('uid');
  readonly use = new PostgresUse(new SessionUse(this.#pod), 'alice');

  constructor() {
    this.client(startup());
    this.server(login);
  }

  /** Each a second after the one before. */
  client(...pieces: readonly Buffer[]): this {
    for (const piece of pieces) {
      this.#clock.nowMs += 1_000;
      this.use.client(piece);
    }
    return this;
  }

  server(...pieces: readonly Buffer[]): this {
    for (const piece of pieces) this.use.server(piece);
    return this;
  }

  get because(): unknown {
    return this.#pod.because;
  }

  get lastUsedMs(): number | null {
    return this.#pod.lastUsedMs;
  }

  get users(): readonly string[] {
    return this.#pod.users;
  }
}

describe('a Postgres session', () => {
  it('is not in use by itself, and its login names a user that the pod accepts', () => {
    const session = new Session();
    expect(session.because).toEqual({});
    expect(session.lastUsedMs).toBeNull();
    expect(session.users).toEqual(['alice']);
  });

  it('is in use while a query runs, and its last use is recorded', () => {
    const session = new Session().client(query('select * from t'));
    expect(session.because).toEqual({ queries: 1 });
    session.server(message('T', Buffer.alloc(20)), message('D', Buffer.alloc(90)), message('C', text('SELECT 1')));
    expect(session.because).toEqual({ queries: 1 });
    session.server(ready('I'));
    expect(session.because).toEqual({});
    expect(session.lastUsedMs).not.toBeNull();
  });

  it.each(['select 1', 'SELECT 1;', '', ' ; ', '-- ping', '/* ping */ SELECT 1', 'select 1 as one'])(
    'is not in use when a pool asks %j, simple or extended, prepared or not',
    (sql) => {
      const session = new Session();
      session.client(query(sql)).server(ready('I'));
      session.client(parse('', sql), bind(''), execute, sync).server(ready('I'));
      session.client(parse('S_1', sql), sync).server(ready('I'));
      session.client(bind('S_1'), execute, sync).server(ready('I'));
      session.client(query('begin'), query(sql), query('rollback')).server(ready('T'), ready('T'), ready('I'));
      expect(session.because).toEqual({});
      expect(session.lastUsedMs).toBeNull();
    },
  );

  it('is in use when another statement is bound, whatever was asked before', () => {
    const session = new Session();
    session.client(parse('S_1', 'select 1'), parse('S_2', 'select * from t'), sync).server(ready('I'));
    session.client(bind('S_2'), execute, sync);
    expect(session.because).toEqual({ queries: 1 });
    session.server(ready('I')).client(bind('unknown'), execute, sync);
    expect(session.because).toEqual({ queries: 1 });
  });

  it('is in use while a transaction is open, even a failed one, and while pipelined replies are due', () => {
    const session = new Session().client(query('begin')).server(ready('T'));
    expect(session.because).toEqual({ transactions: 1 });
    session.client(query('select 1/0')).server(ready('E'));
    expect(session.because).toEqual({ transactions: 1 });
    session.client(query('rollback')).server(ready('I'));
    expect(session.because).toEqual({});
    session.client(query('select 1'), query('select slow()')).server(ready('I'));
    expect(session.because).toEqual({ queries: 1 });
    session.server(ready('I'));
    expect(session.because).toEqual({});
  });

  it('is in use during COPY and replication', () => {
    const session = new Session().client(query('copy t from stdin')).server(message('G', Buffer.alloc(3)));
    session.client(message('d', Buffer.alloc(100_000)));
    expect(session.because).toEqual({ queries: 1, copies: 1 });
    session.client(message('c')).server(message('C', text('COPY 1')), ready('I'));
    expect(session.because).toEqual({});
    session.client(query('START_REPLICATION SLOT s LOGICAL 0/0')).server(message('W', Buffer.alloc(3)));
    expect(session.because).toEqual({ queries: 1, replications: 1 });
  });

  it.each([
    ['LISTEN a', 'UNLISTEN *', 'listeners'],
    ['listen a; listen b', 'unlisten a; unlisten b', 'listeners'],
    ['create temp table t (a int)', 'discard temp', 'temporaryTables'],
    ['select * into temporary t from u', 'DISCARD ALL', 'temporaryTables'],
    ['select pg_advisory_lock(1)', 'select pg_advisory_unlock(1)', 'advisoryLocks'],
    ['select pg_try_advisory_lock(1, 2)', 'select pg_advisory_unlock_all()', 'advisoryLocks'],
    ["insert into t values (1); prepare transaction 'x'", "commit prepared 'x'", 'preparedTransactions'],
  ])('is in use from %j to %j', (from, to, reason) => {
    const session = new Session().client(query(from)).server(ready('I'));
    expect(session.because).toEqual({ [reason]: 1 });
    session.client(parse('', to), bind(''), execute, sync).server(ready('I'));
    expect(session.because).toEqual({});
  });

  it.each([
    'select pg_advisory_xact_lock(1)',
    'create temp table t on commit drop as select 1',
    'prepare p as select 1',
    "select 'attempt'",
  ])('holds nothing after %j', (sql) => {
    const session = new Session().client(query(sql)).server(ready('I'));
    expect(session.because).toEqual({});
  });

  it('gives the same result with any split of its bytes', () => {
    const client = Buffer.concat([query('listen a'), parse('x', 'select 2'), bind('x'), execute, sync, query('begin')]);
    const server = Buffer.concat([ready('I'), message('1'), message('D', Buffer.alloc(300)), ready('I'), ready('T')]);
    const whole = new Session().client(client).server(server);
    expect(whole.because).toEqual({ listeners: 1, transactions: 1 });
    for (let size = 1; size < 9; size++) {
      const session = new Session();
      for (let at = 0; at < client.length; at += size) session.client(client.subarray(at, at + size));
      expect(session.because).toMatchObject({ queries: 1, listeners: 1 });
      for (let at = 0; at < server.length; at += size) session.server(server.subarray(at, at + size));
      expect(session.because).toEqual(whole.because);
    }
  });

  it('is in use for good when it cannot be read', () => {
    const session = new Session().server(Buffer.from('E\0\0\0\x02'));
    session.server(ready('I'));
    expect(session.because).toEqual({ traffic: 1 });
  });

  it(`accepts any bytes (seed ${SEED})`, () => {
    const fuzz = new Fuzz();
    const client = Buffer.concat([parse('x', 'listen a'), bind('x'), execute, sync, query('discard all')]);
    const server = Buffer.concat([login, message('D', Buffer.alloc(40)), message('G', Buffer.alloc(3)), ready('E')]);
    for (let round = 0; round < 2_000; round++) {
      const session = new Session().client(fuzz.damaged(client)).server(fuzz.damaged(server));
      session.client(fuzz.bytes(60)).server(fuzz.bytes(60));
      for (const count of Object.values(session.because as Record<string, number>)) expect(count).toBe(1);
      classifyStatement(fuzz.damaged(Buffer.from('/* a */ unlisten *; discard temp; select 1')).toString('latin1'));
    }
  });
});
