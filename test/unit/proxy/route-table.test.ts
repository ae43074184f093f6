import { describe, expect, it } from 'vitest';
import type { Route } from '../../../core/route.ts';
import { RouteTable } from '../../../proxy/routes/route-table.ts';

const SERVICE = { address: '10.0.0.1', port: 80 };
const BACKEND = { uid: 'uid-1', address: '10.1.0.7', port: 8080, service: SERVICE };
const ROUTE: Route = {
  host: 'a.pods.localhost',
  tenant: 'dev',
  podId: 'a',
  uid: 'uid-1',
  stanza: 'default',
  protocol: 'http',
  status: 'RUNNING',
  backend: BACKEND,
  ipAllowList: [],
};

describe('RouteTable', () => {
  it('routes to the pod while its address is confirmed, and else to its service', () => {
    let isFresh = true;
    const table = new RouteTable(() => isFresh);
    table.replace([ROUTE]);
    expect(table.get(ROUTE.host)).toBe(ROUTE);
    isFresh = false;
    expect(table.get(ROUTE.host)?.backend).toEqual({ ...SERVICE, uid: 'uid-1', service: SERVICE });
    // One object, so that what is kept by it (compiled lists of addresses) is made once.
    expect(table.get(ROUTE.host)).toBe(table.get(ROUTE.host));
  });

  it('has no fallback for a pod without a service, and no route for one without a backend', () => {
    const table = new RouteTable(() => false);
    const alone = { ...ROUTE, backend: { ...BACKEND, service: null } };
    table.replace([alone]);
    expect(table.get(ROUTE.host)).toBe(alone);
    table.apply([{ ...ROUTE, backend: null }], []);
    expect(table.get(ROUTE.host)?.backend).toBeNull();
  });
});

describe('waiting for a route', () => {
  const SLEEP = { holdMs: 60_000, probePaths: [] };
  const ASLEEP: Route = { ...ROUTE, status: 'ASLEEP', backend: null, sleep: SLEEP };
  const never = new AbortController().signal;

  function asleepTable(): RouteTable {
    const table = new RouteTable();
    table.replace([ASLEEP, { ...ASLEEP, host: 'b.pods.localhost' }]);
    return table;
  }

  it('ends at once for a pod with a backend, and for a host without a route', async () => {
    const table = new RouteTable();
    table.replace([ROUTE]);
    expect(await table.whenRouted(ROUTE.host, never)).toBe('live');
    expect(await table.whenRouted('other.pods.localhost', never)).toBe('gone');
  });

  it('ends or never begins for a pod that does not wake up: it never sleeps, or it failed to start', async () => {
    const table = asleepTable();
    const wait = table.whenRouted(ROUTE.host, never);
    table.apply([{ ...ASLEEP, status: 'ERROR' }], []);
    expect(await wait).toBe('gone');
    table.apply([{ ...ROUTE, backend: null }], []);
    expect(await table.whenRouted(ROUTE.host, never)).toBe('gone');
  });

  it.each([
    ['a change', (table: RouteTable) => table.apply([ROUTE], [])],
    ['a snapshot', (table: RouteTable) => table.replace([ROUTE])],
  ])('ends for every waiter of the host when %s gives it a backend', async (_, route) => {
    const table = asleepTable();
    const waits = [table.whenRouted(ROUTE.host, never), table.whenRouted(ROUTE.host, never)];
    // A change that brings no backend ends no wait.
    table.apply([{ ...ASLEEP, status: 'CREATING_CONTAINER' }], []);
    route(table);
    const seen = waits.map(() => table.get(ROUTE.host)?.backend?.uid);
    expect(await Promise.all(waits)).toEqual(['live', 'live']);
    expect(seen).toEqual(['uid-1', 'uid-1']);
  });

  it.each([
    ['a change', (table: RouteTable) => table.apply([], [ROUTE.host])],
    ['a snapshot', (table: RouteTable) => table.replace([])],
  ])('ends when %s removes the route', async (_, remove) => {
    const table = asleepTable();
    const wait = table.whenRouted(ROUTE.host, never);
    remove(table);
    expect(await wait).toBe('gone');
  });

  it('rejects with the reason of the signal, before and during the wait', async () => {
    const table = asleepTable();
    await expect(table.whenRouted(ROUTE.host, AbortSignal.abort(new Error('too late')))).rejects.toThrow('too late');
    const client = new AbortController();
    const wait = table.whenRouted(ROUTE.host, client.signal);
    client.abort(new Error('the client is gone'));
    await expect(wait).rejects.toThrow('the client is gone');
    const next = table.whenRouted(ROUTE.host, never);
    table.apply([ROUTE], []);
    expect(await next).toBe('live');
  });
});
