import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

import { PodgateError } from '../../core/errors.ts';

const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'] as const;

/** Host names under which the control port is asked: those of loopback, and the given ones. */
export function controlHostNames(names: readonly string[]): ReadonlySet<string> {
  return new Set([...LOOPBACK_NAMES, ...names.map((name) => name.toLowerCase())]);
}

/**
 * Throws 'api.unknown-host' unless the request names a host of the control port, or the very address it arrived at (the
 * kubelet, and Prometheus, dial a pod by its address). A page in a browser of this machine could otherwise reach the port
 * under a name of its own that leads here (DNS rebinding), and read the answers. Browsers always send a Host; HTTP/1.0
 * clients such as load balancers' checks need not.
 */
export function requireKnownHost(request: IncomingMessage, names: ReadonlySet<string>): void {
  const { host } = request.headers;
  if (host === undefined || isKnownHost(host, request.socket.localAddress, names)) return;
  throw new PodgateError('api.unknown-host', {
    publicMessages: [
      `The control port does not serve the host name ${JSON.stringify(host.slice(0, 64))}. ` +
        'Use 127.0.0.1 or the address of this machine, or add the name to api.controlHosts in the configuration.',
    ],
  });
}

export function isKnownHost(host: string, localAddress: string | undefined, names: ReadonlySet<string>): boolean {
  const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  if (names.has(name)) return true;
  const address = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name;
  return isIP(address) !== 0 && address === localAddress?.replace(/^::ffff:(?=\d+\.)/i, '');
}
