import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { RoleSettings } from '../../../config/config.ts';
import { parseRoles, roleSettings } from '../../../config/roles.ts';

const cwd = mkdtempSync(join(tmpdir(), 'podgate-roles-'));
for (const name of ['tls.crt', 'tls.key', 'ca.pem']) writeFileSync(join(cwd, name), '');
afterAll(() => rmSync(cwd, { recursive: true }));

const files = { certificateFile: 'tls.crt', keyFile: 'tls.key' };
const gatewayListener = { address: '[fd00::1]:8444', ...files, clientCaFile: 'ca.pem' };
const controlPlane = { addresses: ['control:8444'], ...files, caFile: 'ca.pem' };

type Given = Parameters<typeof roleSettings>[0];

function settings(roles: string, more: Partial<Given> = {}): { settings: RoleSettings; problems: readonly string[] } {
  const problems: string[] = [];
  const given = { store: 'redis', gatewayListener: undefined, controlPlane: undefined, cwd, ...more } as const;
  return { settings: roleSettings({ ...given, roles: parseRoles(roles) ?? [] }, problems), problems };
}

describe('PODGATE_ROLES', () => {
  test('’all’ means every role, and roles may be in any order', () => {
    expect(parseRoles('all')).toEqual(['gateway', 'control', 'spawner', 'health']);
    expect(parseRoles('health, gateway,control')).toEqual(['gateway', 'control', 'health']);
    for (const text of ['', 'gatekeeper', 'all,gateway', 'gateway,']) expect(parseRoles(text)).toBeNull();
  });

  test.each([
    ['all', {}],
    ['all', { store: 'sqlite' }],
    ['gateway', { store: 'sqlite', controlPlane }],
    ['control,spawner,health', { store: 'sqlite', gatewayListener }],
    ['control', {}],
    ['spawner', {}],
    ['gateway,control', { gatewayListener }],
  ] as const)('%s is a good choice with %o', (roles, more) => {
    expect(settings(roles, more).problems).toEqual([]);
  });

  test.each([
    ['gateway', {}, 'controlPlane: is missing'],
    ['all', { controlPlane }, 'controlPlane: requires PODGATE_ROLES=gateway'],
    ['gateway', { controlPlane, gatewayListener }, 'gatewayListener: requires the role control'],
    ['gateway,spawner', {}, 'gateway must be combined with control'],
    ['control', { store: 'sqlite' }, 'only if they share a store'],
    ['control,spawner,health', { store: 'sqlite' }, 'gatewayListener: is missing'],
    [
      'gateway',
      { controlPlane: { ...controlPlane, caFile: 'nowhere.pem' } },
      'controlPlane.caFile: the file cannot be read',
    ],
  ] as const)('%s is refused with %o, by name', (roles, more, problem) => {
    expect(settings(roles, more).problems).toEqual([expect.stringContaining(problem)]);
  });

  test('addresses are split into host and port, IPv6 too', () => {
    expect(settings('all', { gatewayListener }).settings.gatewayListener?.address).toEqual({
      host: 'fd00::1',
      port: 8444,
    });
  });
});
