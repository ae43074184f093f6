import { type Finding, ok, warn } from '../../core/finding.ts';

/** Whether a replica in a cluster listens where it is dialed; null = it is to listen on one address. Pure. */
export function judgeAddresses(listenHost: string, own: readonly string[]): Finding | null {
  if (listenHost !== '::' && listenHost !== '0.0.0.0') return null;
  const missed = listenHost === '::' ? [] : own.filter((address) => address.includes(':'));
  if (missed.length === 0) return ok('addresses', `Podgate listens on every address: ${own.join(', ')}.`);
  return warn(
    'addresses',
    `Podgate listens on IPv4 only (PODGATE_HOST is 0.0.0.0), but this machine also has ${missed.join(', ')}.`,
    'Set PODGATE_HOST to `::`. In a cluster whose first address family is IPv6, probes and clients use these addresses.',
  );
}
