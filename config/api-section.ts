import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import type { ApiConfig } from './config.ts';
import { checkFile } from './named-file.ts';

const MIB = 1024 * 1024;
/** The API reads up to 10 MiB of logs at a time and counts them twice. */
const IN_FLIGHT_LEAST_MIB = 24;
const TOKEN_LEAST_LENGTH = 16;
const HOST_RULE = 'must be a host name or an IP address, without a port';

const calls = z.int().min(1).max(100_000);
const inFlight = z.int().min(IN_FLIGHT_LEAST_MIB).max(65_536);

/** What calls of the control API may hold in each replica, and who may use its port. */
export const apiSection = z
  .strictObject({
    calls: calls.default(512),
    callsPerTenant: calls.default(256),
    callsPerUser: calls.default(64),
    callsPerAddress: calls.default(128),
    inFlightMiB: inFlight.default(256),
    inFlightMiBPerTenant: inFlight.default(128),
    inFlightMiBPerUser: inFlight.default(64),
    slowReaderGraceMs: z.int().min(1_000).max(3_600_000).default(30_000),
    minimumBytesPerSecond: z.int().min(0).max(1_000_000_000).default(4_096),
    failedLoginsPerMinute: z.int().min(1).max(1_000_000).default(120),
    controlHosts: z.array(z.string().refine(isControlHost, { error: HOST_RULE })).optional(),
    metricsTokenFile: z.string().min(1).optional(),
  })
  .prefault({});

export function apiConfigOf(
  {
    section,
    gatewayNamespace,
    cwd,
  }: {
    readonly section: z.infer<typeof apiSection>;
    /** Where Podgate itself runs; null = not in a cluster. */
    readonly gatewayNamespace: string | null;
    readonly cwd: string;
  },
  problems: string[],
): ApiConfig {
  const where = 'PODGATE_CONFIG api';
  if (section.callsPerUser > section.callsPerTenant || section.callsPerTenant > section.calls) {
    problems.push(`${where}: callsPerUser must not exceed callsPerTenant, nor callsPerTenant calls.`);
  }
  if (section.inFlightMiBPerUser > section.inFlightMiBPerTenant || section.inFlightMiBPerTenant > section.inFlightMiB) {
    problems.push(
      `${where}: inFlightMiBPerUser must not exceed inFlightMiBPerTenant, nor inFlightMiBPerTenant inFlightMiB.`,
    );
  }
  const metricsTokenFile = section.metricsTokenFile === undefined ? null : resolve(cwd, section.metricsTokenFile);
  if (metricsTokenFile !== null) {
    checkFile(metricsTokenFile, `${where}.metricsTokenFile`, (text) => metricsTokenProblem(text.trim()), problems);
  }
  return {
    calls: {
      calls: section.calls,
      callsPerTenant: section.callsPerTenant,
      callsPerUser: section.callsPerUser,
      callsPerAddress: section.callsPerAddress,
      bytes: section.inFlightMiB * MIB,
      bytesPerTenant: section.inFlightMiBPerTenant * MIB,
      bytesPerUser: section.inFlightMiBPerUser * MIB,
    },
    slowReaders: { graceMs: section.slowReaderGraceMs, minimumBytesPerSecond: section.minimumBytesPerSecond },
    failedLoginsPerMinute: section.failedLoginsPerMinute,
    controlHosts: section.controlHosts ?? (gatewayNamespace === null ? [] : namesInCluster(gatewayNamespace)),
    metricsTokenFile,
  };
}

/** The token that metrics require. If the file becomes unreadable, no request is allowed. */
export function readMetricsToken(path: string): string | null {
  try {
    const token = readFileSync(path, 'utf8').trim();
    return metricsTokenProblem(token) === null ? token : null;
  } catch {
    return null;
  }
}

function metricsTokenProblem(token: string): string | null {
  const isGood = token.length >= TOKEN_LEAST_LENGTH && /^[\x21-\x7e]+$/.test(token);
  return isGood ? null : `must contain only a token of at least ${TOKEN_LEAST_LENGTH} printable characters`;
}

/** Of the Service in deploy/base/services.yaml. */
function namesInCluster(namespace: string): readonly string[] {
  const service = 'podgate-control';
  return [
    service,
    `${service}.${namespace}`,
    `${service}.${namespace}.svc`,
    `${service}.${namespace}.svc.cluster.local`,
  ];
}

function isControlHost(name: string): boolean {
  return /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i.test(name) || /^\[[0-9a-f:.]+\]$/i.test(name);
}
