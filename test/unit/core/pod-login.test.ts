import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { LoginSeals, mayLogIn, type RouteLogin, routeLoginOf } from '../../../core/pod-login.ts';
import type { StanzaLogin } from '../../../core/pod.ts';

const record = {
  tenant: 'dev',
  permissions: { alice: 'ADMIN', bob: 'USER', carol: 'READ', 'tenant.other': 'ADMIN' },
} as const;
const loginOf = (stanza: StanzaLogin, permissions = {}): RouteLogin | undefined =>
  routeLoginOf(
    { tapisAuth: true, ...stanza },
    { ...record, permissions: { ...record.permissions, ...permissions } },
    'tacc',
  ).login;

it('lets in those with USER unless others are named; groups are those of the permissions', () => {
  expect(loginOf({})?.users).toEqual(['alice', 'bob']);
  expect(loginOf({ tapisAuthAllowedUsers: ['AUTHORIZED_READS'] })?.users).toEqual(['alice', 'bob', 'carol']);
  expect(loginOf({ tapisAuthAllowedUsers: ['AUTHORIZED_ADMINS', 'guest'] })?.users).toEqual(['alice', 'guest']);
  expect(loginOf({ tapisAuthAllowedUsers: ['toString'] })?.users).toEqual(['toString']);
  expect(routeLoginOf({}, record, 'tacc')).toEqual({});
});

it('lets in every user of the tenant by `*`, and by a permission for all that the group includes', () => {
  expect(loginOf({ tapisAuthAllowedUsers: ['*'] })?.users).toBeNull();
  for (const everyone of ['*', 'tenant.dev']) {
    expect(loginOf({ tapisAuthAllowedUsers: ['AUTHORIZED_READS'] }, { [everyone]: 'READ' })?.users).toBeNull();
    expect(loginOf({}, { [everyone]: 'READ' })?.users).toEqual(['alice', 'bob']);
  }
  expect(mayLogIn({ users: null }, 'anyone')).toBe(true);
  expect(mayLogIn({ users: ['alice'] }, 'bob')).toBe(false);
  expect(mayLogIn({ users: [] }, '')).toBe(false);
});

it('fills in tenant and site; the user is known later', () => {
  const headers = { 'X-User': '<<tapisusername>>@x', FROM: '<<tapistenantid>>.<<tapissiteid>> <<tenant>>.<<site>>' };
  expect(loginOf({ tapisAuthResponseHeaders: headers })?.headers).toEqual({
    'x-user': '<<tapisusername>>@x',
    from: 'dev.tacc dev.tacc',
  });
});

it('has paths that need no login, without the slash at their end', () => {
  expect(loginOf({ tapisAuthExcludedPaths: ['/static/', '/a/b'] })?.excludedPaths).toEqual(['/static', '/a/b']);
});

it('opens what it has sealed: for the same purpose, until it expires, while a key of its is there', () => {
  const [old, present] = [randomBytes(48).toString('base64'), randomBytes(48).toString('base64')];
  let keys = [old];
  const seals = new LoginSeals(() => keys);
  const session = { host: 'a.pods.localhost', uid: 'u1', user: 'älice', expiresAtMs: 1_000 };
  const sealed = seals.seal('session', session) ?? '';
  expect(seals.open('session', sealed, 999)).toEqual(session);
  expect(seals.open('session', sealed, 1_000)).toBeNull();
  expect(seals.open('ticket', sealed, 0)).toBeNull();
  keys = [present, old];
  expect(seals.open('session', sealed, 0)).toEqual(session);
  expect(seals.seal('session', session)).not.toBe(sealed);
  keys = [present];
  expect(seals.open('session', sealed, 0)).toBeNull();
  keys = [];
  expect(seals.seal('session', session)).toBeNull();
});

it('opens nothing that was changed or made up', () => {
  const seals = new LoginSeals(() => [Buffer.alloc(48, 1).toString('base64')]);
  const sealed = seals.seal('session', { host: 'a', uid: 'u', user: 'bob', expiresAtMs: 10 }) ?? '';
  const [body = '', mac = ''] = sealed.split('.');
  const other = Buffer.from(JSON.stringify({ host: 'a', uid: 'u', user: 'alice', expiresAtMs: 10 })).toString(
    'base64url',
  );
  for (const text of [
    '',
    '.',
    body,
    `${body}.`,
    `.${mac}`,
    `${other}.${mac}`,
    `${body}.${mac.slice(2)}`,
    `${body}.${'A'.repeat(43)}`,
  ]) {
    expect(seals.open('session', text, 0)).toBeNull();
  }
});
