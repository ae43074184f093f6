import { expect, it } from 'vitest';
import type { Backend, Route } from '../../../../core/route.ts';
import { DEFAULT_HTTP_LIMITS } from '../../../../proxy/protocols/http/exchange/limits.ts';
import { UpstreamPools } from '../../../../proxy/protocols/http/upstream-pools.ts';
import { RouteTable } from '../../../../proxy/routes/route-table.ts';

const HOST = 'hello.pods.localhost';
const backend: Backend = { uid: 'uid-1', address: '127.0.0.1', port: 1, service: null };
const pod = { host: HOST, tenant: 'default', podId: 'hello', uid: 'uid-1', stanza: 'default', ipAllowList: [] };

function tableWith(change: Partial<Route>): RouteTable {
  const table = new RouteTable();
  table.apply([{ ...pod, protocol: 'http', status: 'RUNNING', backend, ...change }], []);
  return table;
}

it('a pool is kept for the same uid, address and port, and closed for any other', () => {
  const pools = new UpstreamPools(DEFAULT_HTTP_LIMITS, '/api.sock');
  let pool = pools.of(HOST, backend, undefined);
  expect(pools.of(HOST, { ...backend }, undefined)).toBe(pool);
  for (const change of [{ uid: 'uid-2' }, { uid: 'uid-2', address: '127.0.0.2' }, { port: 2 }]) {
    const next = pools.of(HOST, { ...backend, ...change }, undefined);
    expect(next).not.toBe(pool);
    expect(pool.isRetired).toBe(true);
    pool = next;
  }
  expect(pools.of(HOST, backend, 'h2c')).not.toBe(pool);
  expect(pool.isRetired).toBe(true);
  pool = pools.of(HOST, backend, 'h2c');
  pools.close();
  expect(pool.isRetired).toBe(true);
});

it('a pool is closed when its route is removed, stops, or leads elsewhere', () => {
  const pools = new UpstreamPools(DEFAULT_HTTP_LIMITS, '/api.sock');
  const gone = [new RouteTable(), tableWith({ backend: null }), tableWith({ backend: { ...backend, uid: 'uid-2' } })];
  for (const table of gone) {
    const pool = pools.of(HOST, backend, undefined);
    pools.sweep(tableWith({}));
    expect([pools.size, pool.isRetired]).toEqual([1, false]);
    pools.sweep(table);
    expect([pools.size, pool.isRetired]).toEqual([0, true]);
  }
});
