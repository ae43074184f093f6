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
  it('leads to the pod while its address is known to be so, and else to its service', () => {
    let isFresh = true;
    const table = new RouteTable(() => isFresh);
    table.replace([ROUTE]);
    expect(table.get(ROUTE.host)).toBe(ROUTE);
    isFresh = false;
    expect(table.get(ROUTE.host)?.backend).toEqual({ ...SERVICE, uid: 'uid-1', service: SERVICE });
    // One object, so that what is kept by it (compiled lists of addresses) is made once.
    expect(table.get(ROUTE.host)).toBe(table.get(ROUTE.host));
  });

  it('has nothing else for a pod without a service, and none for one without a backend', () => {
    const table = new RouteTable(() => false);
    const alone = { ...ROUTE, backend: { ...BACKEND, service: null } };
    table.replace([alone]);
    expect(table.get(ROUTE.host)).toBe(alone);
    table.apply([{ ...ROUTE, backend: null }], []);
    expect(table.get(ROUTE.host)?.backend).toBeNull();
  });
});
