import { createServer, type Server } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
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
import { createDnsAnswers } from '../../../certs/acme/dns/dns-answers.ts';
import { createExecWriter } from '../../../certs/acme/dns/exec-writer.ts';
import { createLookup, isRoutable, type NameServer } from '../../../certs/acme/dns/lookup.ts';
import { createRememberedTexts } from '../../../certs/acme/dns/remembered-texts.ts';
import { problemOfSignature, sign } from '../../../certs/acme/dns/tsig.ts';
import { updateMessage } from '../../../certs/acme/dns/update-message.ts';
import { makePrivateKey } from '../../../certs/acme/private-key.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { systemClock as clock } from '../../../main/system-clock.ts';
import { Bind } from '../../support/bind.ts';
import { Pebble } from '../../support/pebble.ts';
import { run } from '../../support/run.ts';
import { silentLog } from '../../support/silent-log.ts';

/** `_acme-challenge.pods.example.org` is delegated; `loop` leads back to itself. */
const ZONES = {
  'example.org': `* A 127.0.0.1
ns AAAA 2001:db8::1
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

describe('a wildcard and its base host, one of them delegated by CNAME, are validated by a real ACME server', () => {
  test('with dynamic updates of BIND', async () => {
    expect(await order(answersWith())).toEqual(expect.arrayContaining(NAMES));
    await expectTidy();
  });

  test('with a program of the operator', async () => {
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

  test('with a service of the operator that sometimes fails', async () => {
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

describe('errors have an explanation', () => {
  test.each([
    ['a CNAME that leads in a circle', 'loop.example.org', {}, /form a loop/],
    ['a CNAME to a domain that is not there', 'away.example.org', {}, /found no zone|lookup of the zone/],
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
      /failed: (it timed out|exit code)/,
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

  test('a name server that does not serve the record in time is named', async () => {
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

test('a poisoned answer has no effect elsewhere: the key may only change its own records', async () => {
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

test('records left by a killed process are removed by the next one, and other records of the name stay', async () => {
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

test('a record that cannot be removed does not block others, and is named', async () => {
  const remembered = createRememberedTexts(database.store, clock);
  await remembered.remember({ host: 'gone.test', name: '_acme-challenge.gone.test', value: 'the-text' });
  await answersWith().present(one('example.org'), never);
  await remembered.remember({ host: 'gone.test', name: '_acme-challenge.also-gone.test', value: 'the-text' });
  await expect(answersWith().removeLeftovers(never)).rejects.toThrow(
    /DNS records are left at .*_acme-challenge\.(also-)?gone\.test/,
  );
  expect(await bind.texts('_acme-challenge.example.org')).toEqual([]);
  expect((await remembered.all()).map(({ host }) => host)).toEqual(['gone.test', 'gone.test']);
});

test('the output of a program, such as a provider token, is in no error', async () => {
  const program = join(directory, 'hook.sh');
  writeFileSync(program, '#!/bin/sh\necho "token=s3cret"\necho "Authorization: s3cret" >&2\nexit 3\n');
  chmodSync(program, 0o755);
  const writer = createExecWriter({ command: program, arguments: [], path: '/bin:/usr/bin', timeoutMs: 10_000 });
  const failed = await writer.add('_acme-challenge.example.org', 'the-text', never).catch((error: unknown) => error);
  expect(String(failed)).toMatch(/hook\.sh add _acme-challenge\.example\.org failed: exit code 3/);
  expect(JSON.stringify([String(failed), (failed as Error).stack, (failed as Error).cause])).not.toContain('s3cret');
});

describe('the addresses of a name server', () => {
  const NOBODY = '127.0.0.1:1';

  function answersAt(servers: readonly NameServer[]) {
    const lookup = { ...createLookup([bind.address]), serversOf: () => Promise.resolve(servers) };
    const zoneOf = (name: string, signal: AbortSignal): Promise<string> => lookup.zoneOf(name, signal);
    return createDnsAnswers({
      settings: { nameServers: [], propagationTimeoutMs: 1_000 },
      writer: createUpdateWriter({ server: { host: '127.0.0.1', port: bind.port }, key: key(), zoneOf, clock }),
      lookup,
      remembered: createRememberedTexts(database.store, clock),
      clock,
      log: silentLog,
    });
  }

  test('that do not respond are not waited for if another serves the record', async () => {
    const answers = answersAt([[NOBODY, bind.address]]);
    const asked = one('example.org');
    await answers.present(asked, never);
    await answers.withdraw(asked, never);
    await expectTidy();
  });

  test.each([
    ['a server none of whose addresses answers', (at: string) => [[at], [NOBODY]], /not shown by 127\.0\.0\.1:1$/],
    ['no server at all', () => [[NOBODY, NOBODY]], /not shown by 127\.0\.0\.1:1, 127\.0\.0\.1:1$/],
  ] as const)('are waited for: %s', async (_what, servers, sentence) => {
    const answers = answersAt(servers(bind.address));
    const asked = one('example.org');
    await expect(answers.present(asked, never)).rejects.toThrow(sentence);
    await answers.withdraw(asked, never);
  });

  test('are waited for if one serves the record and another does not yet', async () => {
    const stale = await Bind.start({ zones: ZONES });
    try {
      const answers = answersAt([[bind.address, stale.address]]);
      const asked = one('example.org');
      await expect(answers.present(asked, never)).rejects.toThrow(`not shown by ${bind.address}, ${stale.address}`);
      await answers.withdraw(asked, never);
    } finally {
      await stale.dispose();
    }
  });

  test('without a route from this machine are left out', async () => {
    const { code } = await run('ip', ['-6', 'route', 'get', '2001:db8::1']);
    expect(await isRoutable('2001:db8::1')).toBe(code === 0);
    expect(await isRoutable('127.0.0.1')).toBe(true);
    // Broadcasts must be asked for: an address to which this socket cannot send, on every machine.
    expect(await isRoutable('255.255.255.255')).toBe(false);
    // The zone's server has this address, and one in a network that no machine has.
    expect(await createLookup([bind.address]).serversOf('example.org', never)).toEqual([
      ['127.0.0.1:53', ...(code === 0 ? ['[2001:db8::1]:53'] : [])],
    ]);
  });
});

describe('the response to an update', () => {
  const update = { zone: 'example.org', name: '_acme-challenge.example.org', text: 'x', action: 'remove' } as const;
  const seconds = (): number => Math.floor(clock.now() / 1_000);

  /** What BIND answers to this, over TCP, without its length. */
  async function askBind(message: Buffer): Promise<Buffer> {
    const socket = connect(bind.port, '127.0.0.1');
    socket.write(Buffer.concat([Buffer.from([message.length >> 8, message.length & 0xff]), message]));
    let received = Buffer.alloc(0);
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer]);
      if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) break;
    }
    return received.subarray(2);
  }

  test('is accepted with BIND’s signature, and not if any bit has changed', async () => {
    const { message, mac } = sign(updateMessage(update, 7), key(), seconds());
    const answer = await askBind(message);
    const now = seconds();
    expect(problemOfSignature(answer, mac, key(), now)).toBeNull();
    expect(problemOfSignature(answer, mac, key(), now + 301)).toBe('its response was signed at a different time');
    expect(problemOfSignature(answer, mac, key(), now - 301)).toBe('its response was signed at a different time');
    expect(problemOfSignature(answer, mac, { ...key(), name: 'other' }, now)).toContain('another key');
    expect(problemOfSignature(answer, mac, { ...key(), algorithm: 'hmac-sha512' }, now)).toContain('another key');
    expect(problemOfSignature(answer, mac, { ...key(), secret: Buffer.alloc(32) }, now)).toContain('invalid');
    // Another request's, such as an earlier one that is played back.
    expect(problemOfSignature(answer, Buffer.alloc(mac.length), key(), now)).toContain('invalid');
    for (let bit = 0; bit < answer.length * 8; bit++) {
      const changed = Buffer.from(answer);
      changed.writeUInt8((changed[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
      // The ID in front is not signed, and is compared by whoever asked; upper case is the same name.
      const isSame = bit < 16 || changed.toString('latin1').toLowerCase() === answer.toString('latin1').toLowerCase();
      if (!isSame) expect(problemOfSignature(changed, mac, key(), now), `bit ${bit}`).not.toBeNull();
    }
    for (let length = 0; length < answer.length; length++) {
      expect(problemOfSignature(answer.subarray(0, length), mac, key(), now)).not.toBeNull();
    }
  });

  const unsigned = (answer: Buffer): Buffer => {
    const short = Buffer.from(answer.subarray(0, 12));
    short.writeUInt16BE(0, 4);
    short.writeUInt16BE(0, 10);
    return short;
  };
  const withId = (answer: Buffer, change: number): Buffer => {
    const other = Buffer.from(answer);
    other.writeUInt16BE((other.readUInt16BE(0) + change) & 0xffff, 0);
    return other;
  };
  test.each([
    ['has lost its signature', unsigned, /does not change .*: its response is not signed/],
    ['has another ID', (answer: Buffer) => withId(answer, 1), /it sent no response to the update/],
    [
      'is of another request',
      (_answer: Buffer, earlier: Buffer) => earlier,
      /the signature of its response is invalid/,
    ],
  ])('that %s on its way is rejected', async (_what, tamper, sentence) => {
    const { message } = sign(updateMessage(update, 7), key(), seconds());
    const earlier = await askBind(message);
    const relay = createTcpServer((client) => {
      client.once('data', (bytes: Buffer) => {
        void askBind(bytes.subarray(2)).then((answer) => {
          const told = tamper(answer, Buffer.concat([answer.subarray(0, 2), earlier.subarray(2)]));
          client.end(Buffer.concat([Buffer.from([told.length >> 8, told.length & 0xff]), told]));
        });
      });
    });
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    const { port } = relay.address() as AddressInfo;
    const zoneOf = (): Promise<string> => Promise.resolve('example.org');
    const writer = createUpdateWriter({ server: { host: '127.0.0.1', port }, key: key(), zoneOf, clock });
    await expect(writer.remove(update.name, update.text, never)).rejects.toThrow(sentence);
    relay.close();
  });
});
