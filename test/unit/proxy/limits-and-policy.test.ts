import { describe, expect, it } from 'vitest';
import type { Route } from '../../../core/route.ts';
import { addressKey } from '../../../core/address-key.ts';
import { type Admission, ConnectionCounts } from '../../../proxy/limits/connection-counts.ts';
import { type FullCode, podPlacesOf, type PodPlaces } from '../../../proxy/limits/pod-places.ts';
import { isAddressAllowed } from '../../../proxy/policy/ip-allow-list.ts';
import { locate } from '../../../proxy/policy/locate.ts';
import type { ClientIdentity } from '../../../proxy/policy/policies.ts';
import type { ClientProof } from '../../../proxy/tls/client-proof.ts';
import { chooseAlpn } from '../../../proxy/tls/alpn.ts';

const route: Route = {
  host: 'a.pods.localhost',
  tenant: 'dev',
  podId: 'a',
  uid: 'u1',
  stanza: 'default',
  protocol: 'tcp',
  status: 'RUNNING',
  backend: { uid: 'u1', address: '127.0.0.1', port: 1, service: null },
  ipAllowList: [],
};

/** What is answered at once. */
function admit(counts: ConnectionCounts, address: string): Admission | undefined {
  const answers: Admission[] = [];
  counts.admit(address, (admission) => answers.push(admission));
  return answers[0];
}

const NO_QUOTAS = {
  maxConnectionsPerAddressAtPod: null,
  maxConnectionsPerOwner: null,
  maxConnectionsPerTenant: null,
} as const;

/** What is answered at once; undefined = nothing is. */
function acquirePod(counts: ConnectionCounts, places: PodPlaces): FullCode | null | undefined {
  const answers: (FullCode | null)[] = [];
  counts.acquirePod(places, (refusal) => answers.push(refusal));
  return answers[0];
}

describe('ConnectionCounts', () => {
  it('admits exactly the limit in all, then a few that are told so, then none; a released place can be used again', () => {
    const counts = new ConnectionCounts({
      ...NO_QUOTAS,
      maxConnections: 3,
      maxConnectionsPerAddress: 100,
      maxConnectionsPerPod: 1,
    });
    const admissions = Array.from({ length: 80 }, (_, index) => admit(counts, `10.0.0.${index}`));
    expect(admissions.filter((admission) => admission === 'admitted')).toHaveLength(3);
    expect(admissions.filter((admission) => admission === 'surplus')).toHaveLength(64);
    counts.release('10.0.0.5', 'surplus');
    expect(admit(counts, '10.0.1.1')).toBe('surplus');
    counts.release('10.0.0.0', 'admitted');
    expect(admit(counts, '10.0.1.2')).toBe('admitted');
  });

  it('admits exactly the limit per address', () => {
    const counts = new ConnectionCounts({
      ...NO_QUOTAS,
      maxConnections: 100,
      maxConnectionsPerAddress: 2,
      maxConnectionsPerPod: 1,
    });
    const admissions = Array.from({ length: 12 }, () => admit(counts, '10.0.0.1'));
    expect(admissions).toEqual([
      ...Array<string>(2).fill('admitted'),
      ...Array<string>(8).fill('surplus'),
      'none',
      'none',
    ]);
    expect(admit(counts, '10.0.0.2')).toBe('admitted');
  });

  it('returns to zero when everything is released', () => {
    const counts = new ConnectionCounts({
      ...NO_QUOTAS,
      maxConnections: 5,
      maxConnectionsPerAddress: 2,
      maxConnectionsPerPod: 2,
    });
    const held: (readonly [string, 'admitted' | 'surplus'])[] = [];
    for (let round = 0; round < 40; round++) {
      const address = `10.0.0.${round % 4}`;
      const admission = admit(counts, address);
      if (admission !== undefined && admission !== 'none') held.push([address, admission]);
    }
    for (const [address, admission] of held) counts.release(address, admission);
    const pod = podPlacesOf(route, '192.0.2.1');
    const refusals = [1, 2, 3].map(() => acquirePod(counts, pod));
    expect(refusals).toEqual([null, null, 'route.full']);
    counts.releasePod(pod);
    counts.releasePod(pod);
    expect(counts.snapshot()).toEqual({ admitted: 0, surplus: 0, counted: 0 });
  });

  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::1', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
  ])('counts %s as %s', (address, key) => {
    expect(addressKey(address)).toBe(key);
  });
});

describe('isAddressAllowed', () => {
  it.each([
    [[], '198.51.100.1', true],
    [['192.0.2.0/24'], '192.0.2.255', true],
    [['192.0.2.0/24'], '192.0.3.0', false],
    [['192.0.2.7'], '192.0.2.7', true],
    [['192.0.2.7'], '192.0.2.8', false],
    [['0.0.0.0/0'], '203.0.113.9', true],
    // Stored before the API refused it.
    [['10.0.0.0/08'], '10.200.0.1', true],
    [['10.0.0.0/08'], '11.0.0.1', false],
    [['::ffff:10.0.0.0/104'], '10.200.0.1', true],
    [['10.0.0.0/'], '10.0.0.0', false],
    [['010.0.0.0/8'], '8.0.0.1', false],
    [['2001:db8::/32'], '2001:db8:ffff::1', true],
    [['2001:db8::/32'], '192.0.2.1', false],
    [['192.0.2.0/33', 'nonsense', '192.0.2.0/8/8', ''], '192.0.2.1', false],
    [['192.0.2.0/24'], 'nonsense', false],
  ])('%j lets %s in: %s', (ipAllowList, address, expected) => {
    expect(isAddressAllowed({ ...route, ipAllowList }, address)).toBe(expected);
  });
});

describe('locate', () => {
  const from = (remoteAddress: string, proof: ClientProof | null = null): ClientIdentity => ({ remoteAddress, proof });

  it('does not reveal the state of the pod to clients that may not connect', () => {
    const fenced = { ...route, ipAllowList: ['192.0.2.0/24'], backend: null, status: 'STOPPED' } as const;
    expect(locate(fenced, from('198.51.100.1'), false)).toBe('route.forbidden');
    expect(locate(fenced, from('192.0.2.1'), false)).toBe('route.stopped');
  });

  it('admits clients with the required certificate, and hides the pod’s state from others', () => {
    const open: Route = { ...route, backend: null, status: 'STOPPED' };
    const asking: Route = { ...open, clientCa: 'one' };
    const certificate = { subject: 'CN=x', commonName: 'x', fingerprint: '00', der: Buffer.alloc(0) };
    const cases: readonly (readonly [ClientProof | null, string])[] = [
      [{ kind: 'verified', authorities: 'one', certificate }, 'route.stopped'],
      [{ kind: 'missing', authorities: 'one' }, 'route.certificate'],
      [{ kind: 'refused', authorities: 'one', reason: 'it has expired' }, 'route.certificate'],
      // The authorities are others now than at the handshake, or it asked for nothing: another handshake is needed.
      [{ kind: 'verified', authorities: 'two', certificate }, 'route.misdirected'],
      [null, 'route.misdirected'],
    ];
    for (const [proof, expected] of cases) expect(locate(asking, from('192.0.2.1', proof), false)).toBe(expected);
    expect(locate(open, from('192.0.2.1', { kind: 'missing', authorities: 'one' }), false)).toBe('route.stopped');
    expect(locate({ ...asking, ipAllowList: ['192.0.2.9'] }, from('192.0.2.1'), false)).toBe('route.forbidden');
  });

  it('does not connect a client to a pod whose TLS is terminated elsewhere', () => {
    const passing: Route = { ...route, tls: 'passthrough' };
    expect(locate(passing, from('192.0.2.1'), false, 'pod')).toBe(route.backend);
    expect(locate(passing, from('192.0.2.1'), false)).toBe('route.misdirected');
    expect(locate(route, from('192.0.2.1'), false, 'pod')).toBe('route.misdirected');
  });

  it('does not use a backend that has not been confirmed for too long', () => {
    expect(locate(route, from('192.0.2.1'), false)).toBe(route.backend);
    expect(locate(route, from('192.0.2.1'), true)).toBe('route.unreachable');
    expect(locate(undefined, from('192.0.2.1'), false)).toBe('route.unknown');
  });
});

describe('chooseAlpn', () => {
  it.each([
    ['http', ['h2', 'http/1.1'], 'h2'],
    ['http', ['http/1.1', 'h2'], 'h2'],
    ['http', ['http/1.1'], 'http/1.1'],
    ['http', ['h2'], 'h2'],
    ['base-host', ['h2', 'http/1.1'], 'h2'],
    ['unknown', ['h2', 'http/1.1'], 'http/1.1'],
    ['unknown', ['h2'], 'h2'],
    ['unknown', ['foo'], 'none-in-common'],
    ['http', ['http/0.9', 'foo'], 'none-in-common'],
    ['base-host', ['acme-tls/1'], 'none-in-common'],
    ['http', [], null],
    ['tcp', [], null],
    ['tcp', ['h2', 'http/1.1'], 'http/1.1'],
    ['tcp', ['h2'], 'none-in-common'],
    ['tcp', ['mqtt'], 'none-in-common'],
    ['postgres', [], null],
    ['postgres', ['h2', 'http/1.1'], 'http/1.1'],
    ['postgres', ['h2'], 'h2'],
    ['postgres', ['mqtt'], 'none-in-common'],
    ['postgres', ['h2', 'postgresql'], 'postgresql'],
    ['postgres', ['postgresql'], 'postgresql'],
    ['unknown', ['postgresql'], 'postgresql'],
    ['http', ['http/1.1', 'postgresql'], 'postgresql'],
  ] as const)('chooses for %s among %j: %s', (target, offered, chosen) => {
    expect(chooseAlpn(target, offered)).toBe(chosen);
  });
});
