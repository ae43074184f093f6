import net from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { NetworkNamespace } from '../../core/pod-network.ts';
import { hasSysAdmin } from './capabilities.ts';
import { type NamespaceCalls, openNamespaceCalls } from './namespace-calls.ts';
import { openNamespaceThread } from './namespace-thread.ts';
import { descriptorShortage } from './descriptor-shortage.ts';

/** libuv's flags of bind (uv.h): an IPv6 socket that leaves IPv4 alone. */
const UV_TCP_IPV6ONLY = 1;
const UV_TCP_REUSEPORT = 2;

/** A TCP handle of Node's that has a file descriptor already. */
export interface TcpHandle {
  bind(host: string, port: number, flags: number): number;
  bind6(host: string, port: number, flags: number): number;
  close(): void;
}

/** Not in the types: a handle for a descriptor. All public calls connect or listen at once. */
type CreateServerHandle = (host: null, port: null, family: null, fd: number) => TcpHandle | number;
const { _createServerHandle: createHandle } = net as unknown as { _createServerHandle: CreateServerHandle };

/** undefined: not tried yet. null: this Node or this system cannot enter namespaces. */
let calls: NamespaceCalls | null | undefined;

/** Can this process make sockets in other network namespaces? That takes Linux, a Node with FFI, and CAP_SYS_ADMIN. */
export function canEnterNamespaces(): boolean {
  return openCalls() !== null;
}

function openCalls(): NamespaceCalls | null {
  // In a user namespace of our own (main/own-user-namespace.ts) the way back from a pod's namespace is closed.
  if (calls === undefined) calls = hasSysAdmin() ? (openNamespaceCalls(false) ?? openNamespaceThread()) : null;
  return calls;
}

/** A socket of that namespace that is not connected yet; for `options` see net.Socket. */
export function socketWithin(
  namespace: NetworkNamespace,
  host: string,
  options: net.SocketConstructorOpts,
): net.Socket {
  const handle = handleWithin(namespace, host);
  // Reading begins once it is connected, as with a socket that makes its handle itself.
  return new net.Socket({ ...options, handle, manualStart: true } as object);
}

/** A bound socket of that namespace to listen on; several processes may have one of the same port. */
export function listenerWithin(namespace: NetworkNamespace, host: string, port: number): TcpHandle {
  const handle = handleWithin(namespace, host);
  const error = net.isIPv6(host)
    ? handle.bind6(host, port, UV_TCP_REUSEPORT | UV_TCP_IPV6ONLY)
    : handle.bind(host, port, UV_TCP_REUSEPORT);
  if (error === 0) return handle;
  handle.close();
  throw Object.assign(new Error(`cannot bind ${host}:${port} in a network namespace`), {
    code: getSystemErrorName(error),
  });
}

/**
 * A socket belongs for ever to the namespace that its thread was in when it was made, so nothing is forwarded. Throws when
 * the namespace is gone, also when another one is found at its path.
 */
function handleWithin(namespace: NetworkNamespace, host: string): TcpHandle {
  const made = openCalls()?.socket(namespace, net.isIPv6(host) ? 6 : 4) ?? { kind: 'refused' };
  // Whatever this process dialed from now on would reach the wrong pod.
  if (made.kind === 'lost') process.abort();
  if (made.kind !== 'fd') {
    const shortage = descriptorShortage();
    if (shortage !== null) throw shortage;
    throw unreachable(`the network namespace ${made.kind === 'gone' ? 'is gone' : 'cannot be entered'}`);
  }
  const handle = createHandle(null, null, null, made.fd);
  if (typeof handle === 'number') throw unreachable(`its socket cannot be used: ${getSystemErrorName(handle)}`);
  return handle;
}

function unreachable(message: string): Error {
  return Object.assign(new Error(message), { code: 'ECONNREFUSED' });
}
