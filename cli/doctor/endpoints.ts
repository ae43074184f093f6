import type { Config } from '../../config/config.ts';
import { dialable } from '../../main/dialable.ts';
import { CliError } from '../cli-error.ts';
import { readEndpoints, runningSupervisor } from '../target/installation.ts';
import type { Ports } from './examine-gateway.ts';

export interface Endpoints extends Ports {
  /** What is bound: an address, or `::` or `0.0.0.0` for every one. */
  readonly listenHost: string;
  /** What clients dial. */
  readonly publicHttps: number;
  /** Of the default tenant. */
  readonly baseHost: string;
}

/**
 * Where the Podgate of that data directory listens: as it has noted it while it runs, since this command may have another
 * environment; as it is set otherwise.
 */
export function endpointsOf(config: Config): Endpoints {
  const noted = notedIn(config.dataDir);
  const number = (name: string, set: number): number => {
    const value = noted[name];
    return typeof value === 'number' ? value : set;
  };
  const text = (name: string, set: string): string => {
    const value = noted[name];
    return typeof value === 'string' ? value : set;
  };
  const https = number('httpsPort', config.httpsPort);
  const listenHost = text('listenHost', config.listenHosts[0] ?? '127.0.0.1');
  return {
    host: dialable(listenHost),
    listenHost,
    https,
    publicHttps: number('publicHttpsPort', config.publicHttpsPort === 0 ? https : config.publicHttpsPort),
    listeners: config.listeners.map(({ port }) => port),
    control: number('controlPort', config.controlPort),
    baseHost: text('baseHost', config.tenants[0].baseHost),
  };
}

function notedIn(dataDir: string): Readonly<Record<string, unknown>> {
  if (runningSupervisor(dataDir) === null) return {};
  try {
    return readEndpoints(dataDir);
  } catch (error) {
    if (error instanceof CliError) return {};
    throw error;
  }
}
