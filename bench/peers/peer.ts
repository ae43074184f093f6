import type { StartedServer } from './processes.ts';

export type Service = 'echo' | 'web' | 'bulk' | 'postgres';

/** The names of the pod's stanzas, as every client says them, whatever it is that answers. */
export const HOSTS: Readonly<Record<Service, string>> = {
  echo: 'bench.pods.localhost',
  web: 'bench-web.pods.localhost',
  bulk: 'bench-bulk.pods.localhost',
  postgres: 'benchpg.pods.localhost',
};

/** What every peer is given. */
export interface Setting {
  /** For its configuration. */
  readonly directory: string;
  /** One certificate for all of them, ECDSA P-256. */
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Certificate and key in one, for HAProxy. */
  readonly bothFile: string;
  /** Ports of the backends on 127.0.0.1, without TLS. */
  readonly backends: Readonly<Record<Service, number>>;
}

export interface RunningPeer extends StartedServer {
  /** Where it serves what; a service it cannot serve is not there. */
  readonly ports: Readonly<Partial<Record<Service, number>>>;
  /** Absent: it has. */
  readonly hasHttp2?: boolean;
}

export interface Peer {
  readonly name: string;
  /** Null, or what is missing. */
  readonly missing: () => Promise<string | null>;
  readonly start: (setting: Setting) => Promise<RunningPeer>;
}
