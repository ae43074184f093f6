import { connect, type NetConnectOpts, Socket } from 'node:net';
import type { DialGuard } from '../../core/pod-network.ts';
import { socketWithin } from './network-namespace.ts';

/**
 * As net.connect, in the network namespace of `guard`. What prevents that is reported by 'error', as a connection that is
 * refused. Whether the right user listens there (`ownerUid`) is checked by `onConnected`.
 */
export function connectGuarded(options: NetConnectOpts, { namespace }: DialGuard): Socket {
  if (namespace === undefined || !('port' in options)) return connect(options);
  const host = options.host ?? '127.0.0.1';
  try {
    return socketWithin(namespace, host, options).connect({ ...options, host });
  } catch (error) {
    return new Socket(options).destroy(error instanceof Error ? error : new Error(String(error)));
  }
}
