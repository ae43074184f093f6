import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makePrivateKey } from '../../../certs/acme/private-key.ts';
import { type AccountState, openAccount } from '../../../certs/acme/acme-account.ts';
import { carryOutOrder, type ChallengeAnswers } from '../../../certs/acme/acme-order.ts';
import { fetchRenewalAdvice } from '../../../certs/acme/renewal-info.ts';
import { renewalInfoId } from '../../../certs/acme/issued-certificate.ts';
import { systemClock as clock } from '../../../main/system-clock.ts';
import { AcmeFaults } from '../../support/acme-faults.ts';
import { Pebble } from '../../support/pebble.ts';

let pebble: Pebble;
let faults: AcmeFaults;
let answering: Server;
let files: Map<string, string>;

beforeAll(async () => {
  pebble = await Pebble.start({ validityDays: 90, alternateRoots: 1 });
  faults = await AcmeFaults.start(pebble);
  answering = createServer((request, response) => {
    const token = (request.url ?? '').replace('/.well-known/acme-challenge/', '');
    const text = files.get(token);
    response.writeHead(text === undefined ? 404 : 200).end(text);
  });
  answering.listen(pebble.httpPort, '127.0.0.1');
  await once(answering, 'listening');
});
afterAll(async () => {
  answering.close();
  await faults.close();
  await pebble.dispose();
});
beforeEach(() => {
  files = new Map();
  faults.fault = () => null;
  faults.advice = null;
  faults.requests.length = 0;
});

const overHttp: ChallengeAnswers = {
  async present(answers) {
    for (const { token, value } of answers) files.set(token, value);
  },
  async withdraw(answers) {
    for (const { token } of answers) files.delete(token);
  },
};
/** Pebble's DNS is told by hand. */
const overDns: ChallengeAnswers = {
  async present(answers) {
    for (const { host, value } of answers) await pebble.setText(`_acme-challenge.${host}`, value);
  },
  async withdraw(answers) {
    for (const { host } of answers) await pebble.clearText(`_acme-challenge.${host}`);
  },
};

const emptyAccount = (): AccountState => ({ key: makePrivateKey(), nextKey: null, url: null, contact: [] });
const server = () => ({
  directoryUrl: faults.directoryUrl,
  ca: faults.ca,
  externalAccount: null,
  stepDeadlineMs: 2_000,
});
const never = new AbortController().signal;

async function open(state = emptyAccount(), overrides: Partial<ReturnType<typeof server>> = {}) {
  return await openAccount({ server: { ...server(), ...overrides }, state, emails: ['ops@example.org'], clock }, never);
}

/** Orders one, with what a test wants to be different. */
async function order(
  session: Awaited<ReturnType<typeof open>>['session'],
  names: readonly string[],
  extra: Partial<Parameters<typeof carryOutOrder>[0]> = {},
  signal = never,
) {
  return await carryOutOrder(
    {
      session,
      names,
      answers: overHttp,
      challenges: ['http-01'],
      privateKey: makePrivateKey(),
      url: null,
      begun: async () => undefined,
      replaces: null,
      preferredChain: null,
      ...extra,
    },
    signal,
  );
}

test('a name gets an ECDSA P-256 certificate that the server’s root has issued', async () => {
  const { session } = await open();
  const issued = await order(session, ['mypg.pods.example.org']);
  expect(issued.names).toEqual(['mypg.pods.example.org']);
  const [leaf, intermediate] = issued.certificatePem.match(/-----BEGIN[^]+?END CERTIFICATE-----/g) ?? [];
  const certificate = new X509Certificate(leaf ?? '');
  expect(certificate.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: 'prime256v1' });
  expect(certificate.verify(new X509Certificate(intermediate ?? '').publicKey)).toBe(true);
  expect(new X509Certificate(intermediate ?? '').verify(new X509Certificate(await pebble.root()).publicKey)).toBe(true);
  expect(files.size).toBe(0);
});

test('a wildcard and its base host are validated by DNS', async () => {
  const { session } = await open();
  const names = ['*.pods.example.org', 'example.org'];
  const issued = await order(session, names, { answers: overDns, challenges: ['dns-01'] });
  expect([...issued.names].sort()).toEqual(names);
});

test('the preferred one of several chains is used', async () => {
  const { session } = await open();
  const other = new X509Certificate(await pebble.alternateRoot(1));
  const preferredChain = /CN=(.*)/.exec(other.subject)?.[1] ?? '';
  const issued = await order(session, ['chain.pods.example.org'], { preferredChain });
  const last = issued.certificatePem.match(/-----BEGIN[^]+?END CERTIFICATE-----/g)?.at(-1) ?? '';
  expect(new X509Certificate(last).issuer).toBe(other.subject);
});

test('the account is created once, its contact is updated, and its key is rolled over', async () => {
  const first = await open();
  expect(first.state.url).toMatch(/^https:/);
  const again = await open(first.state);
  expect(again.state).toEqual(first.state);

  const nextKey = makePrivateKey();
  const rolled = await open({ ...first.state, nextKey });
  expect(rolled.state).toEqual({ ...first.state, key: nextKey });
  await order(rolled.session, ['rolled.pods.example.org']);
  await expect(order(first.session, ['old-key.pods.example.org'])).rejects.toThrow(/ordering: /);

  // Killed after the server had changed the key: the state still says that both may be.
  const resumed = await open({ ...first.state, nextKey });
  expect(resumed.state.key).toBe(nextKey);

  const told = await openAccount({ server: server(), state: rolled.state, emails: [], clock }, never);
  expect(told.state.contact).toEqual([]);
});

test('an account whose creation response was lost is found again', async () => {
  const state = emptyAccount();
  const first = await open(state);
  const second = await open(state);
  expect(second.state.url).toBe(first.state.url);
});

describe('an order in progress', () => {
  class Killed extends Error {}

  /** Runs it, and ends it as a kill would at the first request for which `isThere` holds. */
  async function killedAt(isThere: (path: string, method: string) => boolean) {
    const { session } = await open();
    const privateKey = makePrivateKey();
    const ending = new AbortController();
    let url: string | null = null;
    faults.fault = ({ path, method }) => {
      if (!isThere(path, method)) return null;
      ending.abort(new Killed());
      return 'silence';
    };
    const name = `killed${Math.floor(performance.now())}.pods.example.org`;
    const begun = async (made: string) => void (url = made);
    await expect(order(session, [name], { privateKey, begun }, ending.signal)).rejects.toThrow(Killed);
    faults.fault = () => null;
    files.clear();
    faults.requests.length = 0;
    const issued = await order(session, [name], { privateKey, url });
    expect(issued.names).toEqual([name]);
    return url;
  }

  test.each([
    ['reading its challenges', (path: string) => path.startsWith('/authZ/')],
    ['requesting validation', (path: string) => path.startsWith('/chalZ/')],
    ['finalizing', (path: string) => path.startsWith('/finalize-order/')],
    ['downloading', (path: string) => path.startsWith('/certZ/')],
  ])('continues after the process is killed when %s', async (_step, isThere) => {
    expect(await killedAt(isThere)).not.toBeNull();
    expect(faults.count('/order-plz')).toBe(0);
  });

  test('is replaced if the process was killed before the server replied', async () => {
    expect(await killedAt((path) => path === '/order-plz')).toBeNull();
  });
});

describe('an ACME server that', () => {
  test('is away fails the step with that reason', async () => {
    const away = { ...server(), directoryUrl: 'https://localhost:1/dir' };
    await expect(openAccount({ server: away, state: emptyAccount(), emails: [], clock }, never)).rejects.toMatchObject({
      fault: 'server',
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
  });

  test('is slow does not block the step', async () => {
    const { session } = await open(emptyAccount(), { stepDeadlineMs: 300 });
    faults.fault = ({ path }) => (path === '/order-plz' ? 'silence' : null);
    await expect(order(session, ['slow.pods.example.org'])).rejects.toMatchObject({
      fault: 'server',
      message: 'ordering: the ACME server did not answer within 300 ms',
    });
  });

  test.each([500, 503])('replies %i counts as at fault, at once', async (status) => {
    const { session } = await open();
    faults.fault = ({ path }) => (path === '/order-plz' ? { status, body: '<h1>Oops</h1>' } : null);
    const startMs = performance.now();
    await expect(order(session, ['broken.pods.example.org'])).rejects.toMatchObject({ fault: 'server' });
    expect(performance.now() - startMs).toBeLessThan(1_000);
    expect(faults.count('/order-plz')).toBe(1);
  });

  test('limits the rate says when to retry', async () => {
    const { session } = await open();
    const problem = { type: 'urn:ietf:params:acme:error:rateLimited', detail: 'too many new orders' };
    faults.fault = ({ path }) =>
      path === '/order-plz' ? { status: 429, headers: { 'retry-after': '7200' }, body: JSON.stringify(problem) } : null;
    await expect(order(session, ['much.pods.example.org'])).rejects.toMatchObject({
      fault: 'limited',
      retryAfterMs: 7_200_000,
      message: 'ordering: too many new orders (rateLimited)',
    });
  });

  test('refuses a name gives the reason, and no challenge response is left', async () => {
    const { session } = await open();
    const answers: ChallengeAnswers = { ...overHttp, present: async () => undefined };
    await expect(order(session, ['nobody.pods.example.org'], { answers })).rejects.toMatchObject({
      fault: 'refused',
      message: expect.stringMatching(/nobody\.pods\.example\.org: .*404.*http-01/) as string,
    });
    expect(files.size).toBe(0);
  });

  test('is misled by a poisoned DNS refuses the name', async () => {
    await pebble.setAddress('poisoned.pods.example.org', ['127.0.0.2']);
    const { session } = await open();
    await expect(order(session, ['poisoned.pods.example.org'])).rejects.toMatchObject({
      fault: 'refused',
      message: expect.stringContaining('poisoned.pods.example.org') as string,
    });
  });

  test('offers only challenges that are not configured here', async () => {
    const { session } = await open();
    await expect(order(session, ['*.pods.example.org'])).rejects.toThrow(
      'pods.example.org: the ACME server offers dns-01, and none of these is configured',
    );
  });

  test('is not an ACME server is reported as such', async () => {
    faults.fault = ({ path }) => (path === '/dir' ? { status: 200, body: '<html>Welcome to nginx</html>' } : null);
    await expect(open()).rejects.toMatchObject({ fault: 'server' });
  });
});

test('rejected nonces are replaced', async () => {
  const other = await Pebble.start({ rejectedNonces: 30, httpPort: pebble.httpPort });
  try {
    const opened = await openAccount(
      {
        server: { ...server(), directoryUrl: other.directoryUrl, ca: other.ca },
        state: emptyAccount(),
        emails: [],
        clock,
      },
      never,
    );
    for (const name of ['a', 'b', 'c']) await order(opened.session, [`nonce-${name}.pods.example.org`]);
  } finally {
    await other.dispose();
  }
});

test('a server that requires external accounts gets their key', async () => {
  const hmacKey = Buffer.from('a key of thirty-two bytes, or so').toString('base64url');
  const other = await Pebble.start({ externalAccounts: { 'customer-1': hmacKey }, httpPort: pebble.httpPort });
  try {
    const known = (externalAccount: { keyId: string; hmacKey: string } | null) =>
      openAccount(
        {
          server: { ...server(), directoryUrl: other.directoryUrl, ca: other.ca, externalAccount },
          state: emptyAccount(),
          emails: [],
          clock,
        },
        never,
      );
    const { session } = await known({ keyId: 'customer-1', hmacKey });
    await order(session, ['bound.pods.example.org']);
    await expect(known(null)).rejects.toMatchObject({ fault: 'account', problem: 'externalAccountRequired' });
  } finally {
    await other.dispose();
  }
});

describe('renewal information', () => {
  test('is requested by key and serial number, and its window is used', async () => {
    const start = new Date(1_800_000_000_000);
    const end = new Date(1_800_086_400_000);
    faults.advice = { start, end, retryAfter: '3600' };
    const { session } = await open();
    const { certificatePem } = await order(session, ['advice.pods.example.org']);
    expect(await fetchRenewalAdvice(session, certificatePem, 1_000, never)).toEqual({
      startMs: start.getTime(),
      endMs: end.getTime(),
      explanationUrl: null,
      askAgainMs: 3_601_000,
    });
    expect(faults.count(`/renewal-info/${renewalInfoId(certificatePem)}`)).toBe(1);
  });

  test('is optional', async () => {
    const { session } = await open();
    const { certificatePem } = await order(session, ['none.pods.example.org']);
    expect(await fetchRenewalAdvice(session, certificatePem, 1_000, never)).toBeNull();
  });

  test('names the replaced certificate in an order, and leaves it out for a server that rejects it', async () => {
    const { session } = await open();
    const { certificatePem } = await order(session, ['again.pods.example.org']);
    const replaces = renewalInfoId(certificatePem);
    const problem = { type: 'urn:ietf:params:acme:error:alreadyReplaced', detail: 'replaced already' };
    let refused = 0;
    faults.fault = ({ path, payload }) => {
      if (path !== '/order-plz' || !(payload as object | null) || !('replaces' in (payload as object))) return null;
      refused += 1;
      return { status: 409, body: JSON.stringify(problem) };
    };
    await order(session, ['again.pods.example.org'], { replaces });
    expect(refused).toBe(1);
  });
});
