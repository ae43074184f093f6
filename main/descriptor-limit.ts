import { closeSync, openSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { devNull } from 'node:os';
import type { Config } from '../config/config.ts';
import { DEFAULT_GATEWAY_LIMITS } from '../proxy/gateway-options.ts';
import { descriptorsFor, planDescriptors } from './descriptor-plan.ts';

/** Every open descriptor of this process is a name in it (proc(5), fd(4)). */
const OWN_DESCRIPTORS_DIR = process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd';

/**
 * RLIMIT_NOFILE of this process, which its children inherit; NaN if unknown. Node raises the soft limit to the hard limit
 * at startup. Raising the hard limit needs privileges, and it may have been set on purpose.
 */
export function descriptorLimit(): number {
  const report = process.report as typeof process.report & { excludeNetwork: boolean };
  // Otherwise it lists every network interface.
  report.excludeNetwork = true;
  const { userLimits } = report.getReport() as unknown as {
    readonly userLimits?: { readonly open_files?: { readonly soft?: unknown } };
  };
  const soft = userLimits?.open_files?.soft;
  if (soft === 'unlimited') return Infinity;
  return typeof soft === 'number' ? soft : NaN;
}

/** The lowest number that is free: at least as many are open. Infinity when none is free. */
export function lowestFreeDescriptor(): number {
  try {
    const descriptor = openSync(devNull, 'r');
    closeSync(descriptor);
    return descriptor;
  } catch {
    return Infinity;
  }
}

/** Number of open descriptors of this process. Throws when none is left to read the directory with. */
export async function openDescriptors(): Promise<number> {
  return (await readdir(OWN_DESCRIPTORS_DIR)).length;
}

/** How the limit of descriptors falls short of the limits of connections; null when it does not. */
export interface DescriptorShortage {
  /** Connections of clients each worker is meant to take, and will. */
  readonly wanted: number;
  readonly granted: number;
  /** RLIMIT_NOFILE that would be enough. */
  readonly needed: number;
  /** The limit was set by the operator, not by default. */
  readonly isConfigured: boolean;
}

export function descriptorShortage(config: Config, limit: number): DescriptorShortage | null {
  const { connections } = config.gateway;
  const wanted = Math.ceil((connections ?? DEFAULT_GATEWAY_LIMITS.maxConnections) / Math.max(1, config.workers));
  const granted = planDescriptors(limit).maxConnections;
  if (wanted <= granted) return null;
  return { wanted, granted, needed: descriptorsFor(wanted), isConfigured: connections !== undefined };
}
