import { expect, it } from 'vitest';
import type { Route } from '../../../core/route.ts';
import { standingOf } from '../../../proxy/policy/standing.ts';

const route: Route = {
  host: 'a.pods.localhost',
  tenant: 'dev',
  podId: 'a',
  uid: 'u1',
  stanza: 'default',
  protocol: 'tcp',
  status: 'RUNNING',
  backend: { uid: 'u1', address: '10.0.0.1', port: 1, service: null },
  ipAllowList: [],
};
const held = {
  uid: 'u1',
  identity: { remoteAddress: '192.0.2.7', proof: null },
  tlsEnd: 'gateway',
} as const;

it('keeps sessions while their pod runs, is not ready, is in ERROR, or has moved', () => {
  expect(standingOf(route, held)).toBe('stays');
  expect(standingOf({ ...route, backend: null }, held)).toBe('stays');
  expect(standingOf({ ...route, status: 'ERROR', backend: null }, held)).toBe('stays');
  const backend = { uid: 'u1', address: '10.0.0.2', port: 1, service: null };
  expect(standingOf({ ...route, backend }, held)).toBe('stays');
});

it('detects that the route of a session is gone', () => {
  expect(standingOf(undefined, held)).toBe('route-gone');
  expect(standingOf({ ...route, uid: 'u2' }, held)).toBe('route-gone');
  for (const status of ['SHUTTING_DOWN', 'STOPPED', 'COMPLETE'] as const) {
    expect(standingOf({ ...route, status, backend: null }, held)).toBe('route-gone');
  }
});

it('rejects a client that a changed allow list or client CA no longer admits', () => {
  expect(standingOf({ ...route, ipAllowList: ['192.0.2.0/24'] }, held)).toBe('stays');
  expect(standingOf({ ...route, ipAllowList: ['198.51.100.0/24'] }, held)).toBe('client-refused');
  expect(standingOf({ ...route, clientCa: 'PEM' }, held)).toBe('client-refused');
});

it('keeps sessions when only the place where TLS ends changes', () => {
  expect(standingOf({ ...route, tls: 'passthrough' }, held)).toBe('stays');
  expect(standingOf(route, { ...held, tlsEnd: 'pod' })).toBe('stays');
  const elsewhere = { ...route, ipAllowList: ['198.51.100.0/24'] };
  expect(standingOf({ ...elsewhere, tls: 'passthrough' }, { ...held, tlsEnd: 'pod' })).toBe('client-refused');
});

it('keeps only sessions with a valid login where the pod requires one', () => {
  const login = { users: ['alice'] };
  const as = (user: string | null) => ({ ...held, identity: { ...held.identity, user } });
  expect(standingOf({ ...route, login }, as('alice'))).toBe('stays');
  expect(standingOf({ ...route, login: { users: null } }, as('bob'))).toBe('stays');
  expect(standingOf({ ...route, login }, as('bob'))).toBe('client-refused');
  expect(standingOf({ ...route, login: { users: null } }, as(null))).toBe('client-refused');
  expect(standingOf({ ...route, login }, held)).toBe('client-refused');
  expect(standingOf(route, as('alice'))).toBe('stays');
});

it('keeps sessions on a path without a login as long as the path stays excluded', () => {
  const at = (target: string) => ({ ...held, identity: { ...held.identity, user: null, target } });
  const login = { users: ['alice'], excludedPaths: ['/public'] };
  expect(standingOf({ ...route, login }, at('/public/feed?a=1'))).toBe('stays');
  expect(standingOf({ ...route, login }, at('/other'))).toBe('client-refused');
  expect(standingOf({ ...route, login: { users: ['alice'] } }, at('/public/feed'))).toBe('client-refused');
});
