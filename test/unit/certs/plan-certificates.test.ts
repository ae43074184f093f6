import { expect, test } from 'vitest';
import { planCertificates, type TenantNames } from '../../../certs/plan/plan-certificates.ts';
import type { WantedName } from '../../../core/certificates.ts';

const PER_HOST: TenantNames = { tenant: 'dev', baseHost: 'example.org', hasWildcard: false, hasPerHost: true };
const WILDCARD: TenantNames = { tenant: 'tacc', baseHost: 'tacc.example.net', hasWildcard: true, hasPerHost: true };
const POD: WantedName = { host: 'mypg.pods.example.org', tenant: 'dev', user: 'alice', isEndedHere: true };
const none = () => false;

test('a tenant with dns-01 gets one certificate for its base host and all its pods, the other one for its base host', () => {
  expect(planCertificates([PER_HOST, WILDCARD], [], none)).toEqual([
    { key: 'example.org', names: ['example.org'], tenant: 'dev', user: null, method: 'per-host' },
    {
      key: '*.pods.tacc.example.net',
      names: ['*.pods.tacc.example.net', 'tacc.example.net'],
      tenant: 'tacc',
      user: null,
      method: 'dns-01',
    },
  ]);
});

test('a name that a client came for gets its own, on account of its user', () => {
  expect(planCertificates([PER_HOST], [POD], none)).toContainEqual({
    key: 'mypg.pods.example.org',
    names: ['mypg.pods.example.org'],
    tenant: 'dev',
    user: 'alice',
    method: 'per-host',
  });
});

test('names below a wildcard, names of pods with their own TLS and of no tenant get none', () => {
  const below = { ...POD, host: 'mypg.pods.tacc.example.net', tenant: 'tacc' };
  const asked = [below, { ...POD, isEndedHere: false }, { ...POD, tenant: 'gone' }];
  expect(planCertificates([PER_HOST, WILDCARD], asked, none).map(({ key }) => key)).toEqual([
    'example.org',
    '*.pods.tacc.example.net',
  ]);
});

test('what the operator’s files cover is not ordered', () => {
  const isCovered = (host: string) => host.endsWith('example.org');
  expect(planCertificates([PER_HOST, WILDCARD], [POD], isCovered).map(({ key }) => key)).toEqual([
    '*.pods.tacc.example.net',
  ]);
  // Half of it is not enough.
  const onlyBase = (host: string) => host === 'tacc.example.net';
  expect(planCertificates([WILDCARD], [], onlyBase)).toHaveLength(1);
});

test('without ACME for a tenant nothing is planned', () => {
  expect(planCertificates([{ ...PER_HOST, hasPerHost: false }], [POD], none)).toEqual([]);
});
