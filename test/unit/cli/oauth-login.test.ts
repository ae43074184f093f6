import { expect, test } from 'vitest';
import { logInByOauth, type OauthServer } from '../../../cli/login/oauth-login.ts';

const SERVER: OauthServer = {
  ...{ issuer: 'https://tenant.example', client_id: 'podgate', scope: null },
  token_endpoint: 'https://tenant.example/token',
  authorization_endpoint: 'https://tenant.example/authorize',
  device_authorization_endpoint: null,
};

test.each([
  { token_endpoint: 'http://tenant.example/token' },
  { device_authorization_endpoint: 'http://tenant.example/device' },
  { authorization_endpoint: 'http://tenant.example/authorize' },
  { authorization_endpoint: 'http://localhost.example/authorize' },
  { authorization_endpoint: 'file:///usr/share/page.html' },
])('a login by %j neither calls it nor opens it', async (change) => {
  const said: string[] = [];
  const [url] = Object.values(change);
  await expect(logInByOauth({ ...SERVER, ...change }, (text) => said.push(text))).rejects.toThrow(
    `${url} must begin with https://`,
  );
  expect(said).toEqual([]);
});
