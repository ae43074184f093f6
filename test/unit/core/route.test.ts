import { expect, test } from 'vitest';
import type { Stanza, StanzaOptions } from '../../../core/pod.ts';
import { routesEqual, routesOf } from '../../../core/route.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';

const PLAIN: Stanza = { protocol: 'http', port: 5000, ipAllowList: [] };
const OPTIONS: readonly StanzaOptions[] = [
  { tls: 'passthrough' },
  { backendProtocol: 'h2c' },
  { sendProxyProtocol: 'v1' },
  { sendProxyProtocol: 'v2' },
  { speaksFirst: 'server' },
  { clientCa: 'PEM' },
];

test.each(OPTIONS)('a change of a stanza is in its route at once, whatever runs: %j', (options) => {
  const wanted = podSpec({ networking: { default: { ...PLAIN, ...options } } });
  const running = podSpec({ networking: { default: PLAIN } });
  const before = routesOf(podRecord({ spec: running }), null, { baseHost: 'localhost', site: 'test' })[0];
  const record = podRecord({ spec: wanted, applied: { generation: 1, run: 1, spec: running } });
  const after = routesOf(record, null, { baseHost: 'localhost', site: 'test' })[0];
  expect(after).toEqual({ ...before, ...options });
  expect(before !== undefined && after !== undefined && routesEqual(before, after)).toBe(false);
});
