import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Route } from '../../../core/route.ts';
import { createCounters } from '../../../proxy/telemetry/counters.ts';
import { Cancellation } from '../../../proxy/protocols/postgres/cancel/cancellation.ts';
import { GUESSES_PER_ADDRESS } from '../../../proxy/protocols/postgres/cancel/guess-limit.ts';
import { RouteTable } from '../../../proxy/routes/route-table.ts';
import { until } from '../../support/until.ts';

/** Lets in nobody who asks here: what is found is counted as forbidden, at once, and no socket is opened. */
const ROUTE: Route = {
  host: 'mypg.pods.localhost',
  tenant: 'dev',
  podId: 'mypg',
  uid: 'uid-mypg',
  stanza: 'default',
  protocol: 'postgres',
  status: 'RUNNING',
  backend: null,
  ipAllowList: ['192.0.2.200'],
};
const KEY = Buffer.from('0000000100000002', 'hex');
const NOBODYS = Buffer.from('0000000100000003', 'hex');
const BACKEND_KEY_DATA = Buffer.from('4b0000000c0000000100000002', 'hex');
const nothing = (): void => undefined;
const READY = Buffer.from('5a0000000549', 'hex');

function stage() {
  const clock = { nowMs: 0, now: () => 0, monotonicMs: () => clock.nowMs };
  const counters = createCounters();
  const asked: string[] = [];
  const cancellation = new Cancellation({
    table: new RouteTable(),
    counters,
    clock,
    ask: (_id, key, address) => asked.push(`${key.toString('hex')} ${address}`) > 0,
  });
  const client = new PassThrough() as unknown as Socket;
  const backend = Object.assign(new PassThrough(), { remoteAddress: '127.0.0.1', remotePort: 1 }) as unknown as Socket;
  return { clock, counters, asked, cancellation, client, backend };
}

describe('Cancellation', () => {
  it.each([
    ['BackendKeyData', BACKEND_KEY_DATA, 1],
    ['ReadyForQuery', READY, 0],
    ['what is no Postgres', Buffer.from('HTTP/1.1 200 OK'), 0],
  ])('follows a session until %s and no longer', (_what, bytes, keys) => {
    const { cancellation, client, backend } = stage();
    const look = cancellation.watch(ROUTE, client, backend);
    const pieces = [bytes.subarray(0, 4), bytes.subarray(4)];
    const answers = pieces.map((piece) => look?.(piece));
    expect(answers.at(-1)).toBe(false);
    expect(cancellation.keys.snapshot()).toEqual({ keys, pods: keys });
  });

  it.each(['client', 'backend'] as const)('forgets the key when the %s is gone', async (side) => {
    const { cancellation, counters, ...sockets } = stage();
    cancellation.watch(ROUTE, sockets.client, sockets.backend)?.(BACKEND_KEY_DATA);
    expect(cancellation.keys.snapshot().keys).toBe(1);
    cancellation.request(KEY, '192.0.2.1', nothing);
    expect(counters.cancels).toMatchObject({ forbidden: 1, unknown: 0 });
    sockets[side].destroy();
    await until('it is forgotten', () => cancellation.keys.snapshot().keys === 0);
    cancellation.request(KEY, '192.0.2.1', nothing);
    expect(counters.cancels).toMatchObject({ forbidden: 1, unknown: 1 });
  });

  it('asks the other workers only about an unknown key, and never for a question of another worker', async () => {
    const { cancellation, client, backend, asked, counters } = stage();
    cancellation.watch(ROUTE, client, backend)?.(BACKEND_KEY_DATA);
    expect(cancellation.keys.snapshot().keys).toBe(1);
    cancellation.request(KEY, '192.0.2.1', nothing);
    cancellation.request(NOBODYS, '192.0.2.1', nothing);
    cancellation.requestElsewhere(NOBODYS, '192.0.2.1', nothing);
    expect(asked).toEqual([`${NOBODYS.toString('hex')} 192.0.2.1`]);
    cancellation.requestElsewhere(KEY, '192.0.2.1', nothing);
    expect(counters.cancels).toMatchObject({ forbidden: 2, unknown: 1, slowed: 0 });
  });

  it('does not look up keys for an address with too many wrong guesses until some time has passed', async () => {
    const { cancellation, client, backend, asked, counters, clock } = stage();
    cancellation.watch(ROUTE, client, backend)?.(BACKEND_KEY_DATA);
    expect(cancellation.keys.snapshot().keys).toBe(1);
    for (let guess = 0; guess < GUESSES_PER_ADDRESS.most; guess++) cancellation.request(NOBODYS, '192.0.2.1', nothing);
    expect(counters.cancels).toMatchObject({ unknown: GUESSES_PER_ADDRESS.most, slowed: 0 });
    cancellation.request(KEY, '192.0.2.1', nothing);
    expect(counters.cancels).toMatchObject({ forbidden: 0, slowed: 1 });
    expect(asked).toHaveLength(GUESSES_PER_ADDRESS.most);
    cancellation.request(KEY, '192.0.2.2', nothing);
    clock.nowMs += 1_000;
    cancellation.request(KEY, '192.0.2.1', nothing);
    expect(counters.cancels).toMatchObject({ forbidden: 2, slowed: 1 });
  });
});
