import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type Authenticator, createAuthenticator, type TenantTokens } from '../../../control/auth/authenticator.ts';
import { signToken } from '../../../control/auth/sign-token.ts';
import { makeTokenKey } from '../../../control/auth/token-key.ts';
import { PodgateError } from '../../../core/errors.ts';

const NOW_MS = Date.parse('2026-11-23T10:00:00Z');
const clock = { now: () => NOW_MS, monotonicMs: () => 0 };
const ISSUER = 'https://localhost/v3/tokens';
const pairOf = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const pemOf = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' });

const ours = pairOf();
const theirs = pairOf();
const tenants: readonly TenantTokens[] = [
  {
    ...{ id: 'default', baseHost: 'localhost', issuer: ISSUER, key: pemOf(ours.publicKey), administrators: ['root'] },
    audiences: ['https://localhost:8443', 'podgate'],
  },
  {
    id: 'other',
    baseHost: 'Other.example.org',
    issuer: 'https://other.example.org/v3/tokens',
    key: { keys: [{ ...theirs.publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'RS256' }] },
    administrators: [],
  },
];
const authenticator: Authenticator = createAuthenticator({
  tenants,
  defaultTenant: 'default',
  site: 'dev',
  arePodsSeparated: true,
  clock,
});

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const CLAIMS = {
  iss: ISSUER,
  exp: NOW_MS / 1000 + 60,
  'tapis/username': 'alice',
  'tapis/tenant_id': 'default',
  'tapis/token_type': 'access',
};

/** Made by hand, so that it can be as wrong as it likes; an undefined claim is left out. */
function token(claims: object = {}, key: KeyObject = ours.privateKey, header: object = { alg: 'RS256' }): string {
  const signed = `${encode(header)}.${encode({ ...CLAIMS, ...claims })}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}

const ask = (tapisToken: string | undefined, host: string | undefined = 'localhost:8443', authorization?: string) =>
  authenticator.authenticate({ host, tapisToken, authorization });

async function refusal(answer: Promise<unknown>): Promise<string> {
  const error = await answer.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof PodgateError)) throw new Error(`not refused: ${String(error)}`);
  expect(error.code).toBe('api.unauthenticated');
  return error.publicMessages.join(' ');
}

describe('a token', () => {
  test.each([
    ['localhost', 'default'],
    ['LOCALHOST.:8443', 'default'],
    ['127.0.0.1:8000', 'default'],
    ['[::1]:8000', 'default'],
    ['podgate-control.svc:8000', 'default'],
    [undefined, 'default'],
  ])('is that of tenant of the host %s', async (host, tenant) => {
    expect(await ask(token(), host)).toEqual({ username: 'alice', tenant, isAdministrator: false });
  });

  test('of another tenant is accepted at that tenant’s host, with its key set', async () => {
    const claims = { iss: 'https://other.example.org/v3/tokens', 'tapis/tenant_id': 'other' };
    const theirToken = token(claims, theirs.privateKey, { alg: 'RS256', kid: 'k1' });
    expect(await ask(theirToken, 'other.example.org')).toMatchObject({ tenant: 'other' });
    expect(await refusal(ask(theirToken))).toBe('The token is of another tenant than this request (default).');
    expect(await refusal(ask(token(), 'other.example.org'))).toContain('another tenant');
  });

  test('that names no key is accepted with any key of the set, and no other', async () => {
    const jwk = (key: KeyObject, kid: string) => ({ ...key.export({ format: 'jwk' }), kid, alg: 'RS256' });
    const rotating = createAuthenticator({
      tenants: [
        {
          id: 'default',
          baseHost: 'localhost',
          issuer: ISSUER,
          key: { keys: [jwk(theirs.publicKey, 'old'), jwk(ours.publicKey, 'new')] },
          administrators: [],
        },
      ],
      defaultTenant: 'default',
      site: 'dev',
      arePodsSeparated: true,
      clock,
    });
    const credentials = (tapisToken: string) => ({ host: 'localhost', tapisToken, authorization: undefined });
    for (const key of [ours.privateKey, theirs.privateKey]) {
      expect(await rotating.authenticate(credentials(token({}, key)))).toMatchObject({ username: 'alice' });
    }
    expect(await refusal(rotating.authenticate(credentials(token({}, pairOf().privateKey))))).toContain('signature');
    expect(await refusal(rotating.authenticate(credentials(token({ exp: 1 }))))).toBe('The token has expired.');
    const unknownKey = token({}, ours.privateKey, { alg: 'RS256', kid: 'absent' });
    expect(await refusal(rotating.authenticate(credentials(unknownKey)))).toContain('signature');
  });

  test('is accepted as Authorization: Bearer, also next to an equal X-Tapis-Token', async () => {
    const good = token();
    expect(await ask(undefined, 'localhost', `Bearer ${good}`)).toMatchObject({ username: 'alice' });
    expect(await ask(good, 'localhost', `bearer ${good}`)).toMatchObject({ username: 'alice' });
    expect(await refusal(ask(good, 'localhost', 'Bearer other'))).toContain('different tokens');
    expect(await refusal(ask(undefined, 'localhost', `Basic ${good}`))).toContain('must be: Bearer');
  });

  test.each([
    [{ 'tapis/roles': ['pods_admin'] }, true],
    [{ 'tapis/roles': ['x', 'pods_admin'] }, true],
    [{ 'tapis/username': 'root' }, true],
    [{ 'tapis/roles': 'pods_admin' }, false],
    [{ 'tapis/roles': { pods_admin: true } }, false],
    [{ 'tapis/roles': [] }, false],
  ])('with %j makes an administrator: %s', async (claims, isAdministrator) => {
    expect(await ask(token(claims))).toMatchObject({ isAdministrator });
  });

  test.each([
    ['expired', { exp: NOW_MS / 1000 - 1 }, 'The token has expired.'],
    ['without exp', { exp: undefined }, 'The token has no claim "exp".'],
    ['with a text as exp', { exp: 'tomorrow' }, 'The claim "exp" of the token is not valid.'],
    ['without issuer', { iss: undefined }, 'The token has no claim "iss".'],
    ['of another issuer', { iss: 'https://evil' }, 'The token comes from another issuer.'],
    ['not valid yet', { nbf: NOW_MS / 1000 + 60 }, 'The token is not valid yet.'],
    [
      'without a tenant',
      { 'tapis/tenant_id': undefined },
      'The token is of another tenant than this request (default).',
    ],
    [
      'of another tenant, signed by ours',
      { 'tapis/tenant_id': 'other' },
      'The token is of another tenant than this request (default).',
    ],
    ['to refresh', { 'tapis/token_type': 'refresh' }, 'Only access tokens are accepted.'],
    ['of no type', { 'tapis/token_type': undefined }, 'Only access tokens are accepted.'],
    ['without user', { 'tapis/username': undefined }, 'The token has no claim "tapis/username".'],
    ['of user 7', { 'tapis/username': 7 }, 'The token has no claim "tapis/username".'],
    ['of nobody', { 'tapis/username': '' }, 'The claim "tapis/username" must not be empty.'],
    [
      'of a:ADMIN',
      { 'tapis/username': 'a:ADMIN' },
      'The claim "tapis/username" must not contain whitespace, control characters, ":" or "/".',
    ],
    ['of __proto__', { 'tapis/username': '__proto__' }, 'The claim "tapis/username" is reserved.'],
  ])('that is %s is refused', async (_, claims, sentence) => {
    expect(await refusal(ask(token(claims)))).toBe(sentence);
  });

  test.each([['podgate'], ['https://localhost:8443'], [['other', 'podgate']]])(
    'for the audience %j, which names this installation, is accepted',
    async (aud) => {
      expect(await ask(token({ aud }))).toMatchObject({ username: 'alice' });
    },
  );

  test.each([
    ...[
      'other',
      '',
      'podgate2',
      'PODGATE',
      'https://localhost:8443/',
      'https://localhost',
      'https://localhost:8443.evil',
    ],
    ...[[], ['other'], [['podgate']], { podgate: true }, null, 7, true],
  ])('for the audience %j, which does not name this installation, is refused', async (aud) => {
    expect(await refusal(ask(token({ aud })))).toBe(
      'The token is for another audience (aud): only tokens without an audience, or for https://localhost:8443 or podgate are accepted.',
    );
  });

  test('with any audience is refused by a tenant that has no name for this installation', async () => {
    const claims = { iss: 'https://other.example.org/v3/tokens', 'tapis/tenant_id': 'other', aud: 'podgate' };
    expect(await refusal(ask(token(claims, theirs.privateKey), 'other.example.org'))).toBe(
      'The token is for another audience (aud): only tokens without an audience are accepted.',
    );
  });

  test('signed by another key, changed, or not signed is refused', async () => {
    expect(await refusal(ask(token({}, theirs.privateKey)))).toBe(
      'The signature of the token is not one of tenant default.',
    );
    const [header = '', , signature = ''] = token().split('.');
    expect(await refusal(ask(`${header}.${encode({ ...CLAIMS, 'tapis/username': 'root' })}.${signature}`))).toContain(
      'signature',
    );
    expect(await refusal(ask(`${encode({ alg: 'none' })}.${encode(CLAIMS)}.`))).toBe(
      'The token must be signed with RS256.',
    );
  });

  test('signed with another algorithm is refused, above all with the public key as a secret', async () => {
    const signed = `${encode({ alg: 'HS256' })}.${encode(CLAIMS)}`;
    const mac = createHmac('sha256', pemOf(ours.publicKey)).update(signed).digest('base64url');
    expect(await refusal(ask(`${signed}.${mac}`))).toBe('The token must be signed with RS256.');
    expect(await refusal(ask(token({}, ours.privateKey, { alg: 'RS512' })))).toBe(
      'The token must be signed with RS256.',
    );
    expect(await refusal(ask(token({}, ours.privateKey, { alg: 'PS256' })))).toBe(
      'The token must be signed with RS256.',
    );
  });

  test.each(['x', 'a.b', 'a.b.c', '..', 'a.b.c.d', '💥', '{}', 'Bearer x'])(
    'that is %j is refused as no JWT',
    async (text) => {
      expect(await refusal(ask(text))).toBe('The token is not a valid JWT.');
    },
  );

  test.each([undefined, '', '  '])('that is %j is asked for', async (text) => {
    expect(await refusal(ask(text))).toContain('A token is needed');
  });
});

describe('the token of a service', () => {
  const SERVICE = { 'tapis/account_type': 'service', 'tapis/username': 'files' };
  const listed = createAuthenticator({
    tenants: tenants.map((tenant) => ({
      ...tenant,
      services:
        tenant.id === 'default'
          ? [
              { name: 'files', tenant: 'default' },
              { name: 'jobs', tenant: 'other' },
            ]
          : [],
    })),
    defaultTenant: 'default',
    site: 'dev',
    arePodsSeparated: true,
    clock,
  });
  const askAs = (
    tapisToken: string,
    onBehalfOf: { readonly user?: string; readonly tenant?: string },
    { host = 'localhost', by = listed } = {},
  ) =>
    by.authenticate({
      host,
      tapisToken,
      authorization: undefined,
      onBehalfOfUser: onBehalfOf.user,
      onBehalfOfTenant: onBehalfOf.tenant,
    });
  const ALICE = { user: 'alice', tenant: 'default' };

  test('acts on behalf of a user, with the rights of that user and not its own', async () => {
    const asService = token({ ...SERVICE, 'tapis/roles': ['pods_admin'] });
    expect(await askAs(asService, ALICE)).toEqual({
      username: 'alice',
      tenant: 'default',
      isAdministrator: false,
      service: 'files',
    });
    expect(await askAs(asService, { ...ALICE, user: 'root' })).toMatchObject({ isAdministrator: true });
  });

  test('is refused without the user and the tenant on whose behalf it acts', async () => {
    for (const onBehalfOf of [{}, { user: 'alice' }, { tenant: 'default' }, { ...ALICE, user: '' }]) {
      expect(await refusal(askAs(token(SERVICE), onBehalfOf))).toContain('X-Tapis-User');
    }
    expect(await refusal(askAs(token(SERVICE), { ...ALICE, user: 'a:b' }))).toContain('X-Tapis-User must');
  });

  test('is refused when the service is not on the list of that tenant', async () => {
    const isNotListed = { code: 'api.forbidden', message: expect.stringContaining('tenants[].services') as unknown };
    await expect(askAs(token(SERVICE), ALICE, { by: authenticator })).rejects.toMatchObject(isNotListed);
    await expect(askAs(token({ ...SERVICE, 'tapis/username': 'jobs' }), ALICE)).rejects.toMatchObject(isNotListed);
    await expect(
      askAs(token(SERVICE), { user: 'alice', tenant: 'other' }, { host: '127.0.0.1:8000' }),
    ).rejects.toMatchObject(isNotListed);
  });

  test('may be signed by the tenant that the list names, and by no other', async () => {
    const claims = {
      ...SERVICE,
      iss: 'https://other.example.org/v3/tokens',
      'tapis/tenant_id': 'other',
      'tapis/username': 'jobs',
    };
    const signed = token(claims, theirs.privateKey, { alg: 'RS256', kid: 'k1' });
    expect(await askAs(signed, ALICE)).toMatchObject({ username: 'alice', tenant: 'default', service: 'jobs' });
    // The audience is judged by the tenant on whose behalf it asks.
    const forUs = token({ ...claims, aud: 'podgate' }, theirs.privateKey, { alg: 'RS256', kid: 'k1' });
    expect(await askAs(forUs, ALICE)).toMatchObject({ service: 'jobs' });
    const forOthers = token({ ...claims, aud: 'files' }, theirs.privateKey, { alg: 'RS256', kid: 'k1' });
    expect(await refusal(askAs(forOthers, ALICE))).toContain('another audience');
    const forged = token(claims, ours.privateKey, { alg: 'RS256', kid: 'k1' });
    expect(await refusal(askAs(forged, ALICE))).toContain('signature');
  });

  test('is refused for another tenant than that of the host, an unknown one, and another site', async () => {
    expect(await refusal(askAs(token(SERVICE), { ...ALICE, tenant: 'other' }))).toContain('X-Tapis-Tenant');
    expect(await refusal(askAs(token(SERVICE), { ...ALICE, tenant: 'none' }, { host: '127.0.0.1' }))).toContain(
      'X-Tapis-Tenant',
    );
    expect(await refusal(askAs(token({ ...SERVICE, 'tapis/target_site': 'tacc' }), ALICE))).toContain('another site');
    expect(await askAs(token({ ...SERVICE, 'tapis/target_site': 'dev' }), ALICE)).toMatchObject({ service: 'files' });
  });

  test('cannot act as a user’s token, nor a user’s token as a service’s', async () => {
    expect(await refusal(askAs(token(), { user: 'bob', tenant: 'default' }))).toContain('for services');
    expect(await refusal(askAs(token(), { user: 'alice', tenant: 'other' }))).toContain('for services');
    expect(await askAs(token(), ALICE)).toEqual({ username: 'alice', tenant: 'default', isAdministrator: false });
    expect(await refusal(askAs(token({ 'tapis/account_type': 'robot' }), {}))).toContain('account_type');
    expect(await refusal(askAs(token({ 'tapis/account_type': ['service'] }), {}))).toContain('account_type');
  });
});

test('where pods are not isolated, only administrators are accepted', async () => {
  const shared = createAuthenticator({
    tenants: tenants.map((tenant) => ({ ...tenant, services: [{ name: 'files', tenant: 'default' }] })),
    defaultTenant: 'default',
    site: 'dev',
    arePodsSeparated: false,
    clock,
  });
  const credentials = (tapisToken: string) => ({ host: 'localhost', tapisToken, authorization: undefined });
  const isRefused = {
    code: 'api.forbidden',
    message: expect.stringContaining('PODGATE_ALLOW_SHARED_UID=yes') as unknown,
  };
  await expect(shared.authenticate(credentials(token()))).rejects.toMatchObject(isRefused);
  const service = token({ 'tapis/account_type': 'service', 'tapis/username': 'files', 'tapis/roles': ['pods_admin'] });
  const onBehalf = { onBehalfOfUser: 'alice', onBehalfOfTenant: 'default' };
  await expect(shared.authenticate({ ...credentials(service), ...onBehalf })).rejects.toMatchObject(isRefused);
  expect(await shared.authenticate(credentials(token({ 'tapis/roles': ['pods_admin'] })))).toMatchObject({
    isAdministrator: true,
  });
  expect(await shared.authenticate(credentials(token({ 'tapis/username': 'root' })))).toMatchObject({
    username: 'root',
  });
});

describe('the authenticator', () => {
  test('is not created without a default tenant, or with an invalid key', () => {
    const [tenant] = tenants;
    if (tenant === undefined) throw new Error('no tenant');
    const make =
      (change: Partial<TenantTokens>, defaultTenant = 'default') =>
      () =>
        createAuthenticator({
          tenants: [{ ...tenant, ...change }],
          defaultTenant,
          site: 'dev',
          arePodsSeparated: true,
          clock,
        });
    expect(make({}, 'absent')).toThrow('absent is not among');
    expect(make({ key: 'no key' })).toThrow('The key of tenant default cannot be read');
    const elliptic = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    expect(make({ key: pemOf(elliptic) })).toThrow('it is no RSA key');
  });
});

describe('the key pair of this installation', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'podgate-key-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('is created once, readable by its owner only, however many processes ask, and signs valid tokens', async () => {
    const path = join(directory, 'deep', 'token-key.pem');
    const keys = await Promise.all([makeTokenKey(path), makeTokenKey(path), makeTokenKey(path)]);
    const [key] = keys;
    expect(new Set(keys.map(({ publicKeyPem }) => publicKeyPem)).size).toBe(1);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect((await makeTokenKey(path)).publicKeyPem).toBe(key.publicKeyPem);
    const signed = await signToken({
      username: 'alice',
      tenant: 'default',
      issuer: ISSUER,
      roles: ['pods_admin'],
      lifetimeSeconds: 60,
      key,
      nowMs: NOW_MS,
    });
    const verifies = createAuthenticator({
      tenants: [{ id: 'default', baseHost: 'localhost', issuer: ISSUER, key: key.publicKeyPem, administrators: [] }],
      defaultTenant: 'default',
      site: 'dev',
      arePodsSeparated: true,
      clock,
    });
    expect(await verifies.authenticate({ host: 'localhost', tapisToken: signed, authorization: undefined })).toEqual({
      username: 'alice',
      tenant: 'default',
      isAdministrator: true,
    });
    await expect(
      signToken({ username: 'a:b', tenant: 'default', issuer: ISSUER, lifetimeSeconds: 60, key }),
    ).rejects.toThrow('The user name must not contain');
  });

  test('is refused when others may read it or when it is not a key, and never quoted', async () => {
    const open = join(directory, 'open.pem');
    writeFileSync(open, readFileSync(join(directory, 'deep', 'token-key.pem')), { mode: 0o644 });
    await expect(makeTokenKey(open)).rejects.toThrow('can be read by others');
    const garbage = join(directory, 'garbage.pem');
    writeFileSync(garbage, 'not a key but a secret', { mode: 0o600 });
    const error: unknown = await makeTokenKey(garbage).catch((thrown: unknown) => thrown);
    expect(String(error)).toContain('contains no private key');
    expect(String(error)).not.toContain('secret');
  });
});
