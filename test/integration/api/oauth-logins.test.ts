import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { OauthTenant } from '../../../control/auth/oauth-code-flow.ts';
import { OauthLogins } from '../../../control/resources/console/oauth-logins.ts';
import { openKeyringVault } from '../../../control/vault/keyring-vault.ts';
import { silentLog } from '../../support/silent-log.ts';

const PAGE = { listener: 'control-port', url: 'http://localhost:8000' } as const;

let directory: string;
let server: Server;
let tenant: OauthTenant;
let token = '';
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-oauth-'));
  server = createServer((_, response) => {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ access_token: token, token_type: 'bearer' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  tenant = {
    baseHost: 'localhost',
    issuer,
    oauth: {
      ...{ clientId: 'podgate', tokenEndpoint: `${issuer}/token`, authorizationEndpoint: `${issuer}/authorize` },
      ...{ deviceAuthorizationEndpoint: null, scope: null, tapis: null },
    },
  };
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

/** As a browser does that comes back from the OAuth server; returns the cookie with the token. */
async function logIn(): Promise<string | null> {
  const vault = openKeyringVault(join(directory, 'keyring.json'));
  const logins = new OauthLogins({
    vault,
    clock: { now: Date.now, monotonicMs: () => performance.now() },
    log: silentLog,
  });
  const { location, setCookie } = await logins.begin(tenant, PAGE, 'x'.repeat(43));
  const state = new URL(location).searchParams.get('state') ?? '';
  const query = new URLSearchParams({ code: 'mycode', state });
  return await logins.finish(tenant, PAGE, query, { cookie: setCookie.split(';')[0] ?? '' });
}

test('a token that is too long for a cookie is refused with that reason, because browsers would ignore the cookie', async () => {
  token = 'x'.repeat(2_000);
  expect((await logIn())?.length).toBeLessThan(4_096);
  token = 'x'.repeat(4_000);
  await expect(logIn()).rejects.toMatchObject({
    code: 'api.invalid',
    publicMessages: ['token: is too long for a session of the console'],
  });
});
