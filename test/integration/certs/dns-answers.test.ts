import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openAccount } from '../../../certs/acme/acme-account.ts';
import { carryOutOrder } from '../../../certs/acme/acme-order.ts';
import { composeDnsAnswers } from '../../../certs/acme/dns/compose-dns-answers.ts';
import type { DnsAnswers } from '../../../certs/acme/dns/dns-answers.ts';
import type { DnsSettings } from '../../../certs/acme/dns/dns-settings.ts';
import { createUpdateWriter } from '../../../certs/acme/dns/update-writer.ts';
import { createLookup } from '../../../certs/acme/dns/lookup.ts';
import { makePrivateKey } from '../../../certs/acme/private-key.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { systemClock as clock } from '../../../main/system-clock.ts';
import { Bind } from '../../support/bind.ts';
import { Pebble } from '../../support/pebble.ts';
import { silentLog } from '../../support/silent-log.ts';

/** `_acme-challenge.pods.example.org` is delegated; `loop` leads back to itself. */
const ZONES = {
  'example.org': `* A 127.0.0.1
_acme-challenge.pods CNAME pods.delegated.test.
_acme-challenge.loop CNAME a.loop
a.loop CNAME _acme-challenge.loop
_acme-challenge.away CNAME x.nobody.test.`,
  'delegated.test': '',
};
const NAMES = ['*.pods.example.org', 'example.org'];
const TEXT_NAMES = ['_acme-challenge.example.org', 'pods.delegated.test'];

let bind: Bind;
let pebble: Pebble;
let directory: string;
let database: SqliteDatabase;
const never = new AbortController().signal;

beforeAll(async () => {
  bind = await Bind.start({ zones: ZONES });
  pebble = await Pebble.start({ dnsServer: bind.address });
});
afterAll(async () => {
  await pebble.dispose();
  await bind.dispose();
});
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-dns-'));
  database = openSqliteDatabase({ path: join(directory, 'store.db'), replicaId: 'one', clock, log: silentLog });
});
afterEach(() => {
  database.close();
  rmSync(directory, { recursive: true });
});

const key = (secret = bind.secret) =>
  ({ name: 'podgate', algorithm: 'hmac-sha256', secret: Buffer.from(secret, 'base64') }) as const;

function answersWith(changes: Partial<DnsSettings> = {}): DnsAnswers {
  const settings: DnsSettings = {
    resolvers: [bind.address],
    nameServers: [bind.address],
    propagationTimeoutMs: 10_000,
    writer: { kind: 'update', server: { host: '127.0.0.1', port: bind.port }, key: key() },
    ...changes,
  };
  return composeDnsAnswers({ settings, store: database.store, clock, log: silentLog });
}

async function order(answers: DnsAnswers): Promise<readonly string[]> {
  const server = { directoryUrl: pebble.directoryUrl, ca: pebble.ca, externalAccount: null };
  const state = { key: makePrivateKey(), nextKey: null, url: null, contact: [] };
  const { session } = await openAccount({ server, state, emails: [], clock }, never);
  const issued = await carryOutOrder(
    {
      session,
      answers,
      names: NAMES,
      challenges: ['dns-01'],
      privateKey: makePrivateKey(),
      url: null,
      begun: async () => undefined,
      replaces: null,
      preferredChain: null,
    },
    never,
  );
  return issued.names;
}

/** Nothing is left in the zones, nor noted as left there. */
async function expectTidy(): Promise<void> {
  for (const name of TEXT_NAMES) expect(await bind.texts(name)).toEqual([]);
  expect(await database.store.list('challenge-text', { limit: 10 })).toEqual([]);
}

const one = (host: string) => [{ type: 'dns-01', host, token: 'x', value: 'the-text' }] as const;

describe('a wildcard and its base host, one of them delegated by CNAME, are proved to a real ACME server', () => {
  test('by dynamic updates of BIND', async () => {
    expect(await order(answersWith())).toEqual(expect.arrayContaining(NAMES));
    await expectTidy();
  });

  test('by a program of the operator', async () => {
    const program = join(directory, 'hook.sh');
    writeFileSync(
      program,
      `#!/bin/sh
test "$1" = --zone-server || exit 9
case "$3" in add) what="add $4. 60 TXT $5";; remove) what="delete $4. TXT $5";; esac
printf 'server 127.0.0.1 %s\\n update %s\\n send\\n' "$2" "$what" | nsupdate -k ${bind.folder}/podgate.key
`,
    );
    chmodSync(program, 0o755);
    const path = process.env['PATH'] ?? '';
    const writer = { kind: 'exec', command: program, path, timeoutMs: 10_000 } as const;
    const answers = answersWith({ writer: { ...writer, arguments: ['--zone-server', String(bind.port)] } });
    expect(await order(answers)).toEqual(expect.arrayContaining(NAMES));
    await expectTidy();
  });

  test('by a service of the operator, which fails now and then', async () => {
    const server = await hookServer();
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/dns`;
    const answers = answersWith({ writer: { kind: 'http', url, token: 'secret-1', ca: null, timeoutMs: 5_000 } });
    expect(await order(answers)).toEqual(expect.arrayContaining(NAMES));
    await expectTidy();
    server.close();
  });
});

/** Every second call finds it busy. */
async function hookServer(): Promise<Server> {
  const lookup = createLookup([bind.address]);
  const zoneOf = (name: string, signal: AbortSignal): Promise<string> => lookup.zoneOf(name, signal);
  const writer = createUpdateWriter({ server: { host: '127.0.0.1', port: bind.port }, key: key(), zoneOf, clock });
  let calls = 0;
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      if (request.headers.authorization !== 'Bearer secret-1') return void response.writeHead(401).end();
      if (++calls % 2 === 1) return void response.writeHead(503).end();
      const { action, name, text } = JSON.parse(body) as { action: 'add' | 'remove'; name: string; text: string };
      void writer[action](name, text, never).then(() => response.writeHead(204).end());
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

describe('what goes wrong is said in a sentence', () => {
  test.each([
    ['a CNAME that leads in a circle', 'loop.example.org', {}, /go in a circle/],
    ['a CNAME to a domain that is not there', 'away.example.org', {}, /no zone is found|does not tell the zone/],
    [
      'a key that the server does not know',
      'example.org',
      { writer: { kind: 'update', server: { host: '127.0.0.1', port: 0 }, key: key0() } },
      /NOTAUTH: .* does not know the key/,
    ],
    ['a server that is not there', 'example.org', { writer: nowhere() }, /cannot be asked to change/],
    [
      'a program that fails',
      'example.org',
      { writer: { kind: 'exec', command: '/bin/false', arguments: [], path: '/bin', timeoutMs: 5_000 } },
      /\/bin\/false add _acme-challenge.example.org failed: exit code 1/,
    ],
    [
      'a program that hangs',
      'example.org',
      { writer: { kind: 'exec', command: '/bin/sleep', arguments: ['60'], path: '/bin', timeoutMs: 300 } },
      /failed: (it took too long|exit code)/,
    ],
  ] satisfies [string, string, Partial<DnsSettings>, RegExp][])('%s', async (_what, host, changes, sentence) => {
    const writer = (changes as Partial<DnsSettings>).writer;
    const own =
      writer?.kind === 'update' && writer.server.port === 0
        ? { writer: { ...writer, server: { host: '127.0.0.1', port: bind.port } } }
        : changes;
    const answers = answersWith(own);
    await expect(answers.present(one(host), never)).rejects.toMatchObject({
      fault: 'refused',
      message: expect.stringMatching(sentence) as string,
    });
  });

  test('a name server that does not show the text in time is named', async () => {
    const stale = await Bind.start({ zones: ZONES });
    try {
      const answers = answersWith({ nameServers: [bind.address, stale.address], propagationTimeoutMs: 1_000 });
      await expect(answers.present(one('example.org'), never)).rejects.toThrow(
        `after 1 s not shown by ${stale.address}`,
      );
      await answers.withdraw(one('example.org'), never);
      await answersWith().removeLeftovers(never);
      await expectTidy();
    } finally {
      await stale.dispose();
    }
  });
});

test('a poisoned answer that leads elsewhere leads to nothing: the key changes only what it is for', async () => {
  const liar = await Bind.start({
    zones: { 'example.org': '_acme-challenge CNAME stolen.evil.test.', 'evil.test': '' },
  });
  try {
    const answers = answersWith({ resolvers: [liar.address] });
    const { port } = bind;
    await expect(answers.present(one('example.org'), never)).rejects.toThrow(
      `the name server 127.0.0.1:${port} does not change stolen.evil.test in evil.test: NOTAUTH`,
    );
    expect(await liar.texts('stolen.evil.test')).toEqual([]);
  } finally {
    await liar.dispose();
  }
});

function key0() {
  return { name: 'podgate', algorithm: 'hmac-sha256', secret: Buffer.alloc(32) } as const;
}

function nowhere() {
  return { kind: 'update', server: { host: '127.0.0.1', port: 1 }, key: key0() } as const;
}

test('what a killed process has left in the DNS is removed by the next, and other texts of the name stay', async () => {
  const killed = answersWith();
  await killed.present(one('example.org'), never);
  await killed.present([{ ...one('example.org')[0], value: 'another' }], never);
  expect(await bind.texts('_acme-challenge.example.org')).toEqual(expect.arrayContaining(['the-text', 'another']));
  // It is still at it: nothing is a leftover.
  await killed.removeLeftovers(never);
  expect(await bind.texts('_acme-challenge.example.org')).toHaveLength(2);
  await answersWith().removeLeftovers(never);
  await expectTidy();
});
