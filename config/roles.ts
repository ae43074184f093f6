import { resolve } from 'node:path';
import { z } from 'zod';
import type { ControlPlaneConfig, GatewayListenerConfig, Role, RoleSettings } from './config.ts';
import { checkFile } from './named-file.ts';

export const ALL_ROLES: readonly Role[] = ['gateway', 'control', 'spawner', 'health'];
export const ROLES_RULE = `must be all (the default), or a comma-separated list of ${ALL_ROLES.join(', ')}`;

/** Null: there is no such role. */
export function parseRoles(text: string): readonly Role[] | null {
  if (text === 'all') return ALL_ROLES;
  const named = text.split(',').map((name) => name.trim());
  return named.every((name) => ALL_ROLES.some((role) => role === name))
    ? ALL_ROLES.filter((role) => named.includes(role))
    : null;
}

const file = z.string().min(1);
const HOST_AND_PORT = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+):(\d{1,5})$/i;
const address = z.string().refine((text) => parseAddress(text) !== null, {
  error: 'must be HOST:PORT, such as control.podgate.svc:8444 or [fd00::1]:8444',
});

/** `gatewayListener:` of the YAML file, on replicas with the role control. */
export const gatewayListenerSection = z.strictObject({
  address,
  certificateFile: file,
  keyFile: file,
  clientCaFile: file,
  gateways: z.array(z.string().min(1)).min(1).optional(),
});

/** `controlPlane:` of the YAML file, on replicas with the role gateway alone. */
export const controlPlaneSection = z.strictObject({
  addresses: z.array(address).min(1),
  serverName: z.string().min(1).optional(),
  certificateFile: file,
  keyFile: file,
  caFile: file,
});

/** Which parts run here, and how gateways and control plane meet where they are apart. What is wrong is added to `problems`. */
export function roleSettings(
  given: {
    readonly roles: readonly Role[];
    readonly store: 'sqlite' | 'redis';
    readonly gatewayListener: z.infer<typeof gatewayListenerSection> | undefined;
    readonly controlPlane: z.infer<typeof controlPlaneSection> | undefined;
    readonly cwd: string;
  },
  problems: string[],
): RoleSettings {
  const { roles, store, cwd } = given;
  const has = (role: Role): boolean => roles.includes(role);
  const isGatewayAlone = roles.length === 1 && has('gateway');
  const listener = 'PODGATE_CONFIG gatewayListener';
  const plane = 'PODGATE_CONFIG controlPlane';
  if (has('gateway') && !has('control') && !isGatewayAlone)
    problems.push(
      'PODGATE_ROLES: gateway must be combined with control or used alone; add control, or use only gateway.',
    );
  if (isGatewayAlone && given.controlPlane === undefined)
    problems.push(`${plane}: is missing; a separate gateway needs the address of its control plane.`);
  if (!isGatewayAlone && given.controlPlane !== undefined)
    problems.push(`${plane}: requires PODGATE_ROLES=gateway; remove it, or set that.`);
  if (!has('control') && given.gatewayListener !== undefined)
    problems.push(`${listener}: requires the role control; remove it, or add the role to PODGATE_ROLES.`);
  if (!isGatewayAlone && store === 'sqlite') {
    if (!(['control', 'spawner', 'health'] as const).every(has))
      problems.push(
        'PODGATE_ROLES: control, spawner and health can be split between replicas only if they share a store; set PODGATE_REDIS_URL, or use all three.',
      );
    else if (!has('gateway') && given.gatewayListener === undefined)
      problems.push(`${listener}: is missing; without it and without the role gateway, no client could reach a pod.`);
  }
  return {
    roles,
    gatewayListener: given.gatewayListener === undefined ? null : listenerOf(given.gatewayListener, cwd, problems),
    controlPlane: given.controlPlane === undefined ? null : planeOf(given.controlPlane, cwd, problems),
  };
}

function listenerOf(
  section: z.infer<typeof gatewayListenerSection>,
  cwd: string,
  problems: string[],
): GatewayListenerConfig {
  const path = checkedPath('PODGATE_CONFIG gatewayListener', cwd, problems);
  return {
    address: parseAddress(section.address) ?? { host: '', port: 0 },
    certificateFile: path('certificateFile', section.certificateFile),
    keyFile: path('keyFile', section.keyFile),
    clientCaFile: path('clientCaFile', section.clientCaFile),
    gateways: section.gateways ?? null,
  };
}

function planeOf(section: z.infer<typeof controlPlaneSection>, cwd: string, problems: string[]): ControlPlaneConfig {
  const path = checkedPath('PODGATE_CONFIG controlPlane', cwd, problems);
  return {
    addresses: section.addresses.flatMap((text) => parseAddress(text) ?? []),
    serverName: section.serverName ?? null,
    certificateFile: path('certificateFile', section.certificateFile),
    keyFile: path('keyFile', section.keyFile),
    caFile: path('caFile', section.caFile),
  };
}

/** Absolute names of files that can be read now. */
function checkedPath(where: string, cwd: string, problems: string[]): (key: string, name: string) => string {
  return (key, name) => {
    checkFile(resolve(cwd, name), `${where}.${key}`, () => null, problems);
    return resolve(cwd, name);
  };
}

function parseAddress(text: string): { readonly host: string; readonly port: number } | null {
  const [, host, port] = HOST_AND_PORT.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) return null;
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}
