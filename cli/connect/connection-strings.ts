import { httpsUrl } from '../../core/https-url.ts';
import type { PodAccess } from '../pods/pod-access.ts';

/** Without the pod's credentials, they are null. */
export interface StanzaAccess extends Omit<PodAccess, 'username' | 'password'> {
  readonly kind: StanzaKind;
  readonly username: string | null;
  readonly password: string | null;
  /** File with the CA to trust; null = the CAs this machine trusts. */
  readonly caPath: string | null;
  /** Whether the resolver of this machine knows `host`. */
  readonly resolves: boolean;
}

export type StanzaKind = 'postgres' | 'bolt' | 'http' | 'tcp';

/** Clients that connection strings are made for; 'url' is what a stanza is reached by in general. */
export const DRIVERS = ['url', 'psql', 'jdbc', 'python', 'node', 'go'] as const;
export type Driver = (typeof DRIVERS)[number];

/** One string for each driver that can reach the stanza. Pure. */
export function connectionStrings(access: StanzaAccess): Readonly<Partial<Record<Driver, string>>> {
  switch (access.kind) {
    case 'postgres':
      return postgresStrings(access);
    case 'bolt': {
      const url = `neo4j+s://${access.host}:${access.port}`;
      return { url, jdbc: `jdbc:${url}${jdbcUser(access, '?')}`, python: url, node: url, go: url };
    }
    case 'http':
      return { url: `${httpsUrl(access.host, access.port)}/` };
    case 'tcp':
      return { url: `${access.host}:${access.port}` };
  }
}

function postgresStrings(access: StanzaAccess): Partial<Record<Driver, string>> {
  const { host, port, username, password, caPath, address, resolves } = access;
  const database = username ?? '';
  const user = username === null ? '' : `${encodeURIComponent(username)}:${encodeURIComponent(password ?? '')}@`;
  const query = (parameters: Readonly<Record<string, string>>): string => new URLSearchParams(parameters).toString();
  const at = `postgresql://${user}${host}:${port}/${encodeURIComponent(database)}`;
  // libpq dials that address and checks the certificate for the host.
  const dialed: Record<string, string> = resolves || address === null ? {} : { hostaddr: address };
  const libpq = `${at}?${query({ sslmode: 'verify-full', sslrootcert: caPath ?? 'system', ...dialed })}`;
  const ca: Record<string, string> = caPath === null ? {} : { sslrootcert: caPath };
  const verified = `${at}?${query({ sslmode: 'verify-full', ...ca })}`;
  const jdbc = {
    ...(username === null ? {} : { user: username, password: password ?? '' }),
    sslmode: 'verify-full',
    ...ca,
  };
  return {
    url: libpq,
    psql: libpq,
    jdbc: `jdbc:postgresql://${host}:${port}/${encodeURIComponent(database)}?${query(jdbc)}`,
    python: libpq,
    node: verified,
    go: verified,
  };
}

function jdbcUser({ username, password }: StanzaAccess, separator: string): string {
  if (username === null) return '';
  return `${separator}${new URLSearchParams({ user: username, password: password ?? '' }).toString()}`;
}

/** Variables that clients read by themselves, and the connection string. Pure. */
export function connectionVariables(access: StanzaAccess): Readonly<Record<string, string>> {
  const { kind, host, port, username, password, caPath, address, resolves } = access;
  const url = connectionStrings(access).url ?? '';
  switch (kind) {
    case 'postgres':
      return {
        PGHOST: host,
        ...(resolves || address === null ? {} : { PGHOSTADDR: address }),
        PGPORT: String(port),
        PGSSLMODE: 'verify-full',
        PGSSLROOTCERT: caPath ?? 'system',
        ...(username === null ? {} : { PGUSER: username, PGPASSWORD: password ?? '', PGDATABASE: username }),
        DATABASE_URL: url,
      };
    case 'bolt':
      return {
        NEO4J_URI: url,
        ...(username === null ? {} : { NEO4J_USERNAME: username, NEO4J_PASSWORD: password ?? '' }),
        ...(caPath === null ? {} : { NODE_EXTRA_CA_CERTS: caPath, SSL_CERT_FILE: caPath }),
      };
    case 'http':
      return { POD_URL: url, ...(caPath === null ? {} : { NODE_EXTRA_CA_CERTS: caPath, SSL_CERT_FILE: caPath }) };
    case 'tcp':
      return { POD_HOST: host, POD_PORT: String(port) };
  }
}
