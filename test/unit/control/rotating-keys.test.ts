import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { type Authenticator, createAuthenticator } from '../../../control/auth/authenticator.ts';
import type { KeySource } from '../../../control/auth/rotating-keys.ts';
import { PodgateError } from '../../../core/errors.ts';

const ISSUER = 'https://tacc.example.org/v3/tokens';
const NOW_MS = Date.parse('2026-11-23T10:00:00Z');
const MINUTE_MS = 60_000;
const pairOf = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const [first, second, foreign] = [pairOf(), pairOf(), pairOf()];
const jwksOf = (keys: Readonly<Record<string, KeyObject>>): string =>
  JSON.stringify({
    keys: Object.entries(keys).map(([kid, key]) => ({ ...key.export({ format: 'jwk' }), kid, alg: 'RS256' })),
  });

/** What the tenant publishes, and how often it was read. */
let published: { status: number; text: string };
let reads: number;
let monotonicMs: number;
let server: Server;
let directory: string;
beforeEach(async () => {
  published = { status: 200, text: jwksOf({ one: first.publicKey }) };
  reads = 0;
  monotonicMs = 1_000;
  directory = mkdtempSync(join(tmpdir(), 'podgate-keys-'));
  server = createServer((_, response) => {
    reads += 1;
    response.writeHead(published.status, published.status === 302 ? { Location: '/elsewhere' } : {});
    response.end(published.text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

const urlSource = (): KeySource => ({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks` });

function authenticatorOf(key: KeySource): Authenticator {
  return createAuthenticator({
    tenants: [{ id: 'tacc', baseHost: 'tacc.example.org', issuer: ISSUER, key, administrators: [] }],
    defaultTenant: 'tacc',
    site: 'dev',
    arePodsSeparated: true,
    clock: { now: () => NOW_MS, monotonicMs: () => monotonicMs },
  });
}

/** 'alice', or the code of the refusal. */
async function outcome(authenticator: Authenticator, { privateKey }: { privateKey: KeyObject }, kid: string) {
  const tapisToken = await new SignJWT({
    'tapis/username': 'alice',
    'tapis/tenant_id': 'tacc',
    'tapis/token_type': 'access',
  })
    .setProtectedHeader({ alg: 'RS256', kid })
    .setIssuer(ISSUER)
    .setExpirationTime(NOW_MS / 1000 + 60)
    .sign(privateKey);
  try {
    const caller = await authenticator.authenticate({ host: undefined, tapisToken, authorization: undefined });
    return caller.username;
  } catch (error) {
    if (error instanceof PodgateError) return error.code;
    throw error;
  }
}

test('an added key works from its first token, and a withdrawn key stops working', async () => {
  const authenticator = authenticatorOf(urlSource());
  expect(await outcome(authenticator, first, 'one')).toBe('alice');
  expect(await outcome(authenticator, first, 'one')).toBe('alice');
  expect(reads).toBe(1);
  published.text = jwksOf({ two: second.publicKey });
  monotonicMs += MINUTE_MS;
  expect(await outcome(authenticator, second, 'two')).toBe('alice');
  expect(reads).toBe(2);
  expect(await outcome(authenticator, first, 'one')).toBe('api.unauthenticated');
});

test('tokens with unknown keys cause one read per half minute, however many there are', async () => {
  const authenticator = authenticatorOf(urlSource());
  expect(await outcome(authenticator, first, 'one')).toBe('alice');
  monotonicMs += MINUTE_MS;
  const outcomes = await Promise.all(
    Array.from({ length: 50 }, (_, index) => outcome(authenticator, foreign, `made-up-${index}`)),
  );
  expect(new Set(outcomes)).toEqual(new Set(['api.unauthenticated']));
  expect(reads).toBe(2);
  expect(await outcome(authenticator, first, 'one')).toBe('alice');
});

test('a failing source locks nobody out for a day; after that, and before the first read, the result is 503', async () => {
  const authenticator = authenticatorOf(urlSource());
  published.status = 500;
  expect(await outcome(authenticator, first, 'one')).toBe('api.unavailable');
  published.status = 200;
  // Within the cool-down nothing is read.
  expect(await outcome(authenticator, first, 'one')).toBe('api.unavailable');
  expect(reads).toBe(1);
  monotonicMs += MINUTE_MS;
  expect(await outcome(authenticator, first, 'one')).toBe('alice');
  published.status = 500;
  monotonicMs += 23 * 60 * MINUTE_MS;
  expect(await outcome(authenticator, first, 'one')).toBe('alice');
  monotonicMs += 2 * 60 * MINUTE_MS;
  expect(await outcome(authenticator, first, 'one')).toBe('api.unavailable');
});

test.each([
  ['no JSON', { status: 200, text: '<html>' }],
  ['no set of keys', { status: 200, text: '{"keys":7}' }],
  ['too much', { status: 200, text: ' '.repeat(300 * 1024) }],
  ['a redirect', { status: 302, text: '' }],
])('%s is refused', async (_, answer) => {
  published = answer;
  expect(await outcome(authenticatorOf(urlSource()), first, 'one')).toBe('api.unavailable');
});

test('a file is read again in the same way', async () => {
  const file = join(directory, 'jwks.json');
  const authenticator = authenticatorOf({ file });
  expect(await outcome(authenticator, first, 'one')).toBe('api.unavailable');
  writeFileSync(file, jwksOf({ one: first.publicKey }));
  monotonicMs += MINUTE_MS;
  expect(await outcome(authenticator, first, 'one')).toBe('alice');
  writeFileSync(file, jwksOf({ one: first.publicKey, two: second.publicKey }));
  monotonicMs += MINUTE_MS;
  expect(await outcome(authenticator, second, 'two')).toBe('alice');
});
