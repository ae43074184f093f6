import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AcmeSettings } from '../../../certs/manager/acme-settings.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { makeKey } from '../../../control/vault/keyring-file.ts';
import { systemClock as clock } from '../../../main/system-clock.ts';
import { AcmeFaults } from '../../support/acme-faults.ts';
import { Pebble } from '../../support/pebble.ts';
import { silentLog } from '../../support/silent-log.ts';
import { createTestAuthority } from '../../support/test-authority.ts';
import { until } from '../../support/until.ts';
import { answerAt, type Key, Stand } from './support/manager-stand.ts';

const DAY_MS = 86_400_000;
let pebble: Pebble;
let faults: AcmeFaults;
let answering: Server;
const stands: Stand[] = [];
const all: Stand[] = [];
let directory: string;
let database: SqliteDatabase;
const key = makeKey();

beforeAll(async () => {
  pebble = await Pebble.start({ validityDays: 6 });
  faults = await AcmeFaults.start(pebble);
  answering = await answerAt(pebble.httpPort, stands);
});
afterAll(async () => {
  answering.close();
  await faults.close();
  await pebble.dispose();
});
beforeEach(() => {
  faults.fault = () => null;
  faults.advice = null;
  faults.requests.length = 0;
  directory = mkdtempSync(join(tmpdir(), 'podgate-manager-'));
  database = openSqliteDatabase({ path: join(directory, 'store.db'), replicaId: 'one', clock, log: silentLog });
});
afterEach(async () => {
  const ended = stands.splice(0);
  await Promise.all(ended.map((stand) => stand.end()));
  // Whatever a test has done: nothing of a private key is in the log.
  expect(all.splice(0).flatMap(({ lines }) => lines.filter((line) => line.includes('PRIVATE KEY')))).toEqual([]);
  database.close();
  rmSync(directory, { recursive: true });
});

function settings(changes: Partial<AcmeSettings> = {}): AcmeSettings {
  return {
    server: { directoryUrl: faults.directoryUrl, ca: faults.ca, externalAccount: null, stepDeadlineMs: 2_000 },
    emails: [],
    challenges: ['http-01'],
    preferredChain: null,
    limits: { perDomain: 50, perTenant: 50, perUser: 50 },
    // Without a certificate for the base host, that tests see their own orders alone.
    tenants: [{ tenant: 'dev', baseHost: 'example.org', hasWildcard: false, hasPerHost: true }],
    ...changes,
  };
}

/** A replica whose operator has a certificate for the base host. */
async function begin(changes: Partial<AcmeSettings> = {}, keys: readonly [Key, ...Key[]] = [key]): Promise<Stand> {
  const { certificate, key: privateKeyPem } = await createTestAuthority(['example.org']);
  const notAfterMs = Date.now() + 1_000 * DAY_MS;
  const files = [{ id: 'operator', names: ['example.org'], certificatePem: certificate, privateKeyPem, notAfterMs }];
  const stand = new Stand({ database, settings: settings(changes), keys, files });
  stands.push(stand);
  all.push(stand);
  return stand;
}

const orders = (): number => faults.requests.filter(({ path }) => path === '/order-plz').length;
const obtained = (stand: Stand, host: string) =>
  until(`a certificate for ${host}`, () => stand.served(host)).catch((error: unknown) => {
    throw new Error(stand.lines.slice(-20).join('\n'), { cause: error });
  });
/** Enough looks for a loop of orders to show. */
async function looks(count = 8): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 100));
}

test('a name that a client has requested gets a certificate, encrypted in the store, and counted', async () => {
  const stand = await begin();
  stand.addPod('mypg.pods.example.org');
  stand.manager.wanted('mypg.pods.example.org');
  stand.manager.wanted('mypg.pods.example.org');
  const { privateKeyPem } = await obtained(stand, 'mypg.pods.example.org');
  expect(privateKeyPem).toContain('BEGIN PRIVATE KEY');
  const record = await database.store.get('certificate', 'mypg.pods.example.org');
  const account = await database.store.get('acme-account', faults.directoryUrl);
  expect(JSON.stringify([record, account])).not.toContain('PRIVATE KEY');
  await until('it is at rest', () => stand.status('mypg.pods.example.org')?.isOrdering === false);
  const report = stand.manager.report();
  expect(report.budgets).toEqual([{ domain: 'example.org', limit: 50, used: 1, left: 49 }]);
  expect(report.accounts).toMatchObject([{ failures: 0, lastError: null, pausedUntilMs: null }]);
  expect(stand.status('mypg.pods.example.org')).toMatchObject({ source: 'per-host', user: 'alice', lapse: 'no' });
  await looks();
  expect(orders()).toBe(1);
  expect(await database.store.list('challenge', { limit: 10 })).toEqual([]);
});

test('unknown names, and names of pods with their own certificate, are never ordered', async () => {
  const stand = await begin();
  stand.addPod('own.pods.example.org', { isEndedHere: false });
  for (const host of ['scanned.pods.example.org', 'own.pods.example.org', 'example.org', 'elsewhere.test']) {
    stand.manager.wanted(host);
  }
  await looks();
  expect(await database.store.list('certificate', { limit: 10 })).toEqual([]);
  expect(orders()).toBe(0);
});

test('an order that fails validation waits, reports the reason, costs no budget, and is retried when an operator asks', async () => {
  const stand = await begin();
  const host = 'poisoned.pods.example.org';
  await pebble.setAddress(host, ['127.0.0.2']);
  stand.addPod(host);
  stand.manager.wanted(host);
  await until('it has failed', () => stand.status(host)?.failures === 1);
  const status = stand.status(host);
  expect(status).toMatchObject({ held: null, isOrdering: false, lapse: 'no' });
  expect(status?.lastError?.message).toContain(host);
  expect((status?.notBeforeMs ?? 0) - Date.now()).toBeGreaterThan(3 * 60_000);
  expect(stand.manager.report().budgets).toMatchObject([{ used: 0 }]);
  await looks();
  expect(orders()).toBe(1);
  await pebble.setAddress(host, ['127.0.0.1']);
  expect(await stand.manager.renew(host)).toBe('asked');
  await obtained(stand, host);
  expect(await stand.manager.renew('nobody.pods.example.org')).toBe('unknown');
});

describe('an ACME server that', () => {
  test('limits the rate for a name is asked again when it says', async () => {
    const stand = await begin();
    const host = 'much.pods.example.org';
    const problem = { type: 'urn:ietf:params:acme:error:rateLimited', detail: 'too many new orders' };
    faults.fault = ({ path }) =>
      path === '/order-plz' ? { status: 429, headers: { 'retry-after': '7200' }, body: JSON.stringify(problem) } : null;
    stand.addPod(host);
    stand.manager.wanted(host);
    await until('it has failed', () => stand.status(host)?.failures === 1);
    expect((stand.status(host)?.notBeforeMs ?? 0) - Date.now()).toBeGreaterThan(7_100_000);
    await looks();
    expect(orders()).toBe(1);
    faults.fault = () => null;
    stand.offsetMs = 7_300_000;
    await obtained(stand, host);
  });

  test.each([
    ['is away', 'reset' as const],
    ['answers 500', { status: 500 }],
    ['does not answer', 'silence' as const],
  ])('%s delays the account, and the same order continues when it is back', async (_what, fault) => {
    const stand = await begin();
    const host = `later${all.length}x${Math.floor(performance.now())}.pods.example.org`;
    faults.fault = ({ path }) => (path.startsWith('/authZ/') ? fault : null);
    stand.addPod(host);
    stand.manager.wanted(host);
    await until('the account waits', () => (stand.manager.report().accounts[0]?.pausedUntilMs ?? null) !== null);
    await looks();
    expect(stand.status(host)).toMatchObject({ failures: 0, isOrdering: true });
    expect(orders()).toBe(1);
    faults.fault = () => null;
    stand.offsetMs = 60_000;
    await obtained(stand, host);
    expect(orders()).toBe(1);
    await until('the account is well', () => stand.manager.report().accounts[0]?.failures === 0);
  });

  test('has lost the account gets a new one', async () => {
    const stand = await begin();
    stand.addPod('before.pods.example.org');
    stand.manager.wanted('before.pods.example.org');
    await obtained(stand, 'before.pods.example.org');
    await pebble.stop();
    await pebble.start();
    stand.addPod('after.pods.example.org');
    stand.manager.wanted('after.pods.example.org');
    await until('the account waits', () => (stand.manager.report().accounts[0]?.pausedUntilMs ?? null) !== null);
    stand.offsetMs = 60_000;
    await obtained(stand, 'after.pods.example.org');
  });
});

describe('renewal', () => {
  async function heldAt(host: string, changes: Partial<AcmeSettings> = {}) {
    const stand = await begin(changes);
    stand.addPod(host);
    stand.manager.wanted(host);
    const first = await obtained(stand, host);
    return { stand, first };
  }
  const renewed = (stand: Stand, host: string, first: { readonly certificatePem: string }) =>
    until(`${host} is renewed`, () => {
      const served = stand.served(host);
      return served !== undefined && served.certificatePem !== first.certificatePem && served;
    }).catch((error: unknown) => {
      throw new Error(stand.lines.slice(-20).join('\n'), { cause: error });
    });

  test('happens before two thirds of the lifetime, once, and is not counted', async () => {
    const host = 'third.pods.example.org';
    const { stand, first } = await heldAt(host);
    stand.offsetMs = 3 * DAY_MS;
    await looks();
    expect(orders()).toBe(1);
    stand.offsetMs = 4 * DAY_MS;
    await renewed(stand, host, first);
    await looks();
    expect(orders()).toBe(2);
    expect(stand.manager.report().budgets).toMatchObject([{ used: 1 }]);
  });

  test('happens when the issuer says so, and names what it replaces', async () => {
    const host = 'advised.pods.example.org';
    faults.advice = { start: new Date(Date.now() + DAY_MS), end: new Date(Date.now() + DAY_MS + 60_000) };
    const { stand, first } = await heldAt(host);
    await until('it was asked', () => faults.count('/renewal-info/') > 0);
    await looks();
    expect(orders()).toBe(1);
    stand.offsetMs = DAY_MS + 120_000;
    await renewed(stand, host, first);
    const [, second] = faults.requests.filter(({ path }) => path === '/order-plz');
    expect(second?.payload).toMatchObject({ replaces: expect.stringMatching(/^[\w-]+\.[\w-]+$/) as string });
  });

  test.each([-2, 2])('with a clock that is %i days off makes no second order', async (days) => {
    const stand = await begin();
    stand.offsetMs = days * DAY_MS;
    const host = `clock${days + 2}.pods.example.org`;
    stand.addPod(host);
    stand.manager.wanted(host);
    await obtained(stand, host);
    await looks(15);
    expect(orders()).toBe(1);
    // And when it is set right.
    stand.offsetMs = 0;
    await looks();
    expect(orders()).toBe(1);
  });

  test('that fails keeps the old certificate, and raises an alarm before it expires', async () => {
    const host = 'lapsing.pods.example.org';
    const { stand, first } = await heldAt(host);
    await pebble.setAddress(host, ['127.0.0.2']);
    stand.offsetMs = 5 * DAY_MS;
    await until('it has failed', () => (stand.status(host)?.failures ?? 0) > 0);
    expect(stand.served(host)?.certificatePem).toBe(first.certificatePem);
    expect(stand.status(host)).toMatchObject({ lapse: 'soon' });
    await until('the log says so', () =>
      stand.lines.some((line) => line.startsWith('error a certificate will expire')),
    );
    await pebble.setAddress(host, ['127.0.0.1']);
    stand.offsetMs = 5 * DAY_MS + 7 * 3_600_000;
    await renewed(stand, host, first);
    expect(stand.status(host)).toMatchObject({ failures: 0, lastError: null });
  });
});

test('the budget is never exceeded: further orders wait, and report until when', async () => {
  const stand = await begin({ limits: { perDomain: 50, perTenant: 50, perUser: 2 } });
  const hosts = ['a', 'b', 'c', 'd'].map((name) => `budget-${name}.pods.example.org`);
  for (const host of hosts) {
    stand.addPod(host);
    stand.manager.wanted(host);
  }
  await until('two have one, two wait', () => {
    const found = hosts.map((host) => stand.status(host));
    return found.filter((one) => one?.held).length === 2 && found.filter((one) => one?.lastError).length === 2;
  });
  const waiting = hosts.map((host) => stand.status(host)).find((one) => one?.lastError);
  expect(waiting?.lastError?.message).toContain('budget of new certificates for this user of example.org is used up');
  await looks();
  expect(orders()).toBe(2);
  // Of another user there is some left.
  stand.addPod('bob.pods.example.org', { user: 'bob' });
  stand.manager.wanted('bob.pods.example.org');
  await obtained(stand, 'bob.pods.example.org');
});

describe('the keyring', () => {
  test('may be rotated: what an old key encrypted is encrypted again with the first key', async () => {
    const host = 'rotated.pods.example.org';
    const before = await begin();
    before.addPod(host);
    before.manager.wanted(host);
    const { privateKeyPem } = await obtained(before, host);
    await until('at rest', () => before.status(host)?.isOrdering === false);
    await before.end();
    stands.length = 0;
    const next = makeKey();
    const between = await begin({}, [next, key]);
    between.addPod(host);
    await until('both are sealed anew', async () => {
      const record = await database.store.get('certificate', host);
      const account = await database.store.get('acme-account', faults.directoryUrl);
      return [record?.value.held?.sealedKey, account?.value.sealedKey].every((text) =>
        text?.startsWith(`v1.${next.id}.`),
      );
    });
    await between.end();
    stands.length = 0;
    const after = await begin({}, [next]);
    expect((await obtained(after, host)).privateKeyPem).toBe(privateKeyPem);
  });

  test('that is wrong makes no orders, and is reported', async () => {
    const host = 'wrong.pods.example.org';
    const before = await begin();
    before.addPod(host);
    before.manager.wanted(host);
    await obtained(before, host);
    await until('at rest', () => before.status(host)?.isOrdering === false);
    await before.end();
    stands.length = 0;
    const wrong = await begin({}, [makeKey()]);
    wrong.addPod(host);
    wrong.offsetMs = 5 * DAY_MS;
    await until('it says so', () => wrong.manager.report().accounts[0]?.lastError?.message.includes('keyring'));
    expect(wrong.status(host)).toMatchObject({ isKeyOpen: false });
    expect(wrong.lines.some((line) => line.includes('PODGATE_SECRET_KEY_FILE'))).toBe(true);
    await looks();
    expect(orders()).toBe(1);
  });
});

test('the account key is rolled over when an operator asks, and orders continue', async () => {
  const stand = await begin();
  expect(await stand.manager.rollOverAccountKey()).toBe('no-account');
  stand.addPod('old-key.pods.example.org');
  stand.manager.wanted('old-key.pods.example.org');
  await obtained(stand, 'old-key.pods.example.org');
  const sealed = async () => (await database.store.get('acme-account', faults.directoryUrl))?.value;
  const before = await sealed();
  expect(await stand.manager.rollOverAccountKey()).toBe('asked');
  await until('it is another', async () => {
    const now = await sealed();
    return now?.sealedNextKey === null && now.sealedKey !== before?.sealedKey;
  });
  expect(faults.count('/rollover-account-key')).toBe(1);
  stand.addPod('new-key.pods.example.org');
  stand.manager.wanted('new-key.pods.example.org');
  await obtained(stand, 'new-key.pods.example.org');
  expect((await sealed())?.url).toBe(before?.url);
});

test('an imported certificate is served and never renewed; every certificate can be exported with its key', async () => {
  const stand = await begin();
  const host = 'mine.pods.example.org';
  stand.addPod(host);
  const { certificate: certificatePem, key: privateKeyPem } = await createTestAuthority([host]);
  expect(await stand.manager.import({ certificatePem, privateKeyPem })).toEqual({ kind: 'imported', key: host });
  await obtained(stand, host);
  expect(stand.status(host)).toMatchObject({ source: 'imported', nextRenewalMs: null });
  expect(await stand.manager.renew(host)).toBe('not-renewable');
  expect((await stand.manager.export(host))?.privateKeyPem.trim()).toBe(privateKeyPem.trim());
  expect(await stand.manager.export('nobody.test')).toBeNull();
  const { key: otherKey } = await createTestAuthority([host]);
  expect(await stand.manager.import({ certificatePem, privateKeyPem: otherKey })).toEqual({
    kind: 'refused',
    reason: 'the key does not match the certificate',
  });
  stand.manager.wanted(host);
  await looks();
  expect(orders()).toBe(0);
});
