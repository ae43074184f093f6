import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CANCEL_KEYS_PER_POD_MAX } from '../../../../proxy/protocols/postgres/cancel/cancel-keys.ts';
import { cancelRequest } from '../../../../proxy/protocols/postgres/cancel/cancel-request.ts';
import { until } from '../../../support/until.ts';
import { runningRoute } from '../support/gateway-fixture.ts';
import { HOST, startPostgresStage, type PostgresStage } from '../support/postgres-stage.ts';
import { openPlain, readAndEnd, startBackend, type Backend } from '../support/streams.ts';

const CANCELLED = 'canceling statement due to user request';
const LIAR = 'liar.pods.localhost';
const STARTUP = Buffer.from('00000013000300007573657200757365720000', 'hex');

let stage: PostgresStage;
let liar: Backend;
/** What the liar says to each client once it has its StartupMessage. */
let lie: (socket: Socket) => void;
/** CancelRequests that have reached the liar. */
let reached: Buffer[];
/** It takes them, and never ends the connection. */
let holdsCancels = false;
const held: Socket[] = [];

beforeAll(async () => {
  reached = [];
  liar = await startBackend((socket) => {
    socket.on('end', () => socket.end());
    socket.once('data', (bytes: Buffer) => {
      if (bytes.readUInt32BE(4) !== 80_877_102) {
        lie(socket);
        return;
      }
      reached.push(bytes);
      if (holdsCancels) held.push(socket);
      else socket.end();
    });
  });
  stage = await startPostgresStage(() => [
    runningRoute(LIAR, liar.port, { protocol: 'postgres' }),
    runningRoute('raw.pods.localhost', liar.port, { protocol: 'tcp' }),
  ]);
});
afterAll(async () => {
  await stage.stop();
  await liar.close();
});

function message(type: string, body: Buffer): Buffer {
  const bytes = Buffer.concat([Buffer.from(type), Buffer.alloc(4), body]);
  bytes.writeUInt32BE(bytes.length - 1, 1);
  return bytes;
}
const AUTHENTICATED = message('R', Buffer.alloc(4));
const READY = message('Z', Buffer.from('I'));
const said = (key: Buffer): Buffer => Buffer.concat([AUTHENTICATED, message('K', key), READY]);

/** A session with the liar, ready. */
async function openLie(key: Buffer, host = LIAR): Promise<Duplex> {
  lie = (socket) => socket.write(said(key));
  const client = await stage.fixture.connect(host);
  client.write(STARTUP);
  await once(client, 'data');
  return client;
}

async function openVictim(): Promise<{ readonly client: pg.Client; readonly key: Buffer }> {
  const ssl = { ca: stage.certificate.certificatePem, servername: HOST };
  const { user, password } = stage.server;
  const client = new pg.Client({
    host: '127.0.0.1',
    port: stage.fixture.httpsPort,
    user,
    password,
    database: 'postgres',
    ssl,
  });
  await client.connect();
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const key = Buffer.alloc(8);
  key.writeInt32BE(processID, 0);
  key.writeInt32BE(secretKey, 4);
  return { client, key };
}

let sleeps = 0;
async function startSleep(client: pg.Client): Promise<{ readonly ended: Promise<string> }> {
  const sql = `select pg_sleep(30), ${sleeps++}`;
  const ended = client.query(sql).then(
    () => 'to its end',
    (error: unknown) => (error as Error).message,
  );
  await until('the statement runs', () => stage.isRunning(sql));
  return { ended };
}

async function ask(key: Buffer): Promise<void> {
  const socket = await openPlain(stage.fixture.httpsPort);
  socket.write(cancelRequest(key));
  expect(await readAndEnd(socket)).toHaveLength(0);
}

const cancels = () => stage.fixture.gateway.counters.cancels;
async function allClosed(): Promise<void> {
  await until('no connection is left', () => stage.fixture.gateway.activeConnections() === 0);
}

describe('a key', () => {
  it.each([4, 32, 256])(
    'with a secret of %i bytes leads exactly its packet to the pod, in plaintext and inside TLS',
    async (size) => {
      const key = Buffer.from(Array.from({ length: 4 + size }, (_, at) => (at * 7) & 0xff));
      const client = await openLie(key);
      reached = [];
      await ask(key);
      await until('it has arrived', () => reached.length === 1);
      const secured = await stage.fixture.connect(LIAR);
      secured.write(cancelRequest(key));
      expect(await readAndEnd(secured)).toHaveLength(0);
      await until('it has arrived', () => reached.length === 2);
      expect(reached).toEqual([cancelRequest(key), cancelRequest(key)]);
      client.destroy();
      await allClosed();
    },
  );
});

describe('a pod that reports the key of another', () => {
  it('does not take over its cancels, and at most delays their end', async () => {
    const { client, key } = await openVictim();
    const lies = await Promise.all([openLie(key), openLie(key), openLie(key)]);
    reached = [];
    holdsCancels = true;
    const asked: Promise<void>[] = [];
    try {
      for (let round = 1; round <= 3; round++) {
        const { ended } = await startSleep(client);
        asked.push(ask(key));
        expect(await ended).toBe(CANCELLED);
        // One for each of its addresses, however often it has said it.
        await until('the liar has its own', () => reached.length === round);
      }
    } finally {
      holdsCancels = false;
      for (const socket of held.splice(0)) socket.end();
    }
    await Promise.all(asked);
    for (const one of lies) one.destroy();
    await client.end();
    await allClosed();
  });

  it('can do so behind a tcp stanza, and gets nothing at all', async () => {
    const { client, key } = await openVictim();
    const one = await openLie(key, 'raw.pods.localhost');
    reached = [];
    const { delivered } = cancels();
    const { ended } = await startSleep(client);
    await ask(key);
    expect(await ended).toBe(CANCELLED);
    await until('it is counted', () => cancels().delivered === delivered + 1);
    expect(reached).toHaveLength(0);
    one.destroy();
    await client.end();
    await allClosed();
  });

  it('has only its first key recorded', async () => {
    const { client, key } = await openVictim();
    const own = Buffer.from('its own key');
    lie = (socket) => socket.write(Buffer.concat([said(own), message('K', key), AUTHENTICATED, message('K', key)]));
    const one = await stage.fixture.connect(LIAR);
    one.write(STARTUP);
    await once(one, 'data');
    reached = [];
    const { ended } = await startSleep(client);
    await ask(key);
    expect(await ended).toBe(CANCELLED);
    expect(reached).toHaveLength(0);
    await ask(own);
    await until('it has arrived', () => reached.length === 1);
    one.destroy();
    await client.end();
    await allClosed();
  });
});

describe('a pod that reports thousands of keys', () => {
  it('has its limit, and others keep all of theirs', async () => {
    const lies: Duplex[] = [];
    const before = cancels().unregistered;
    const keyOf = (n: number): Buffer => {
      const key = Buffer.alloc(8);
      key.writeUInt32BE(n, 4);
      return key;
    };
    let n = 0;
    // Each in its turn, so that every client is told another key.
    while (n < CANCEL_KEYS_PER_POD_MAX + 20) lies.push(await openLie(keyOf(n++)));
    expect(cancels().unregistered).toBe(before + 20);
    const { client, key } = await openVictim();
    const { ended } = await startSleep(client);
    await ask(key);
    expect(await ended).toBe(CANCELLED);
    reached = [];
    await ask(keyOf(n - 1));
    await ask(keyOf(0));
    await until('the registered one has arrived', () => reached.length === 1);
    expect(reached[0]).toEqual(cancelRequest(keyOf(0)));
    for (const one of lies) one.destroy();
    await client.end();
    await allClosed();
  });

  it('may send a lot before a key: its bytes are passed on, and no key is looked for any more', async () => {
    const { client, key } = await openVictim();
    const notice = message('N', Buffer.alloc(10_000, 0x78));
    const notices = Buffer.concat(Array.from({ length: 20 }, () => notice));
    lie = (socket) => socket.end(Buffer.concat([notices, said(key)]));
    const one = await stage.fixture.connect(LIAR);
    one.write(STARTUP);
    expect(await readAndEnd(one)).toHaveLength(notices.length + said(key).length);
    reached = [];
    const { ended } = await startSleep(client);
    await ask(key);
    expect(await ended).toBe(CANCELLED);
    expect(reached).toHaveLength(0);
    await client.end();
    await allClosed();
  });
});
