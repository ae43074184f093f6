import { closeSync, fstatSync, openSync } from 'node:fs';
import net from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { NetworkNamespace } from '../../core/orchestrator.ts';

/** setns(2) */
const CLONE_NEWNET = 0x4000_0000;
/** libuv's flag of bind (uv.h): an IPv6 socket that leaves IPv4 alone. */
const UV_TCP_IPV6ONLY = 1;
const UV_TCP_REUSEPORT = 2;

/** A TCP handle of Node's that has a file descriptor already. */
export interface TcpHandle {
  close(): void;
}

/** Not in the types. It makes the socket at once, where all public calls make it later. */
type CreateServerHandle = (host: string, port: number, family: 4 | 6, fd: number, flags: number) => TcpHandle | number;
const { _createServerHandle: createHandle } = net as unknown as { _createServerHandle: CreateServerHandle };

interface Kernel {
  readonly setns: (fd: number, kind: number) => number;
  /** This process's own network namespace, kept open as the way back. */
  readonly own: number;
}

/** undefined: not tried yet. null: this Node or this system cannot enter namespaces. */
let kernel: Kernel | null | undefined;

/** Can this process enter other network namespaces? That takes Linux, a Node with FFI, and CAP_SYS_ADMIN. */
export function canEnterNamespaces(): boolean {
  const { setns, own } = openKernel() ?? {};
  return setns !== undefined && own !== undefined && setns(own, CLONE_NEWNET) === 0;
}

function openKernel(): Kernel | null {
  if (kernel !== undefined) return kernel;
  kernel = null;
  if (process.platform !== 'linux') return kernel;
  try {
    // Loaded only here: it is experimental, and announces that with a warning.
    const { functions } = process
      .getBuiltinModule('node:ffi')
      .dlopen(null, { setns: { arguments: ['i32', 'i32'], return: 'i32' } });
    kernel = { setns: functions.setns, own: openSync('/proc/self/ns/net', 'r') };
  } catch {
    // An older Node.
  }
  return kernel;
}

/**
 * Runs `work` with this thread in that network namespace: sockets that it creates belong there for ever. `work` must not
 * wait: whatever else this thread did meanwhile would happen in there. Throws when the namespace is gone, also when
 * another one is found at its path. 13 us for both ways (measured).
 */
export function withinNamespace<T>({ path, inode }: NetworkNamespace, work: () => T): T {
  const entry = openKernel();
  if (entry === null) throw unreachable('this process cannot enter network namespaces');
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    throw unreachable('the network namespace is gone');
  }
  try {
    if (fstatSync(fd).ino !== inode) throw unreachable('the network namespace is gone');
    if (entry.setns(fd, CLONE_NEWNET) !== 0) throw unreachable('the network namespace cannot be entered');
  } finally {
    closeSync(fd);
  }
  try {
    return work();
  } finally {
    // Whatever this process dialed from now on would reach the wrong pod.
    if (entry.setns(entry.own, CLONE_NEWNET) !== 0) process.abort();
  }
}

/** A socket of that namespace that is not connected yet; for `options` see net.Socket. */
export function socketWithin(
  namespace: NetworkNamespace,
  host: string,
  options: net.SocketConstructorOpts,
): net.Socket {
  const handle = bindWithin(namespace, host, 0, 0);
  // Reading begins once it is connected, as with a socket that makes its handle itself.
  return new net.Socket({ ...options, handle, manualStart: true } as object);
}

/** A bound socket of that namespace to listen on; several processes may have one of the same port. */
export function listenerWithin(namespace: NetworkNamespace, host: string, port: number): TcpHandle {
  return bindWithin(namespace, host, port, UV_TCP_REUSEPORT);
}

function bindWithin(namespace: NetworkNamespace, host: string, port: number, flags: number): TcpHandle {
  const isIPv6 = net.isIPv6(host);
  const handle = withinNamespace(namespace, () =>
    createHandle(host, port, isIPv6 ? 6 : 4, -1, flags | (isIPv6 ? UV_TCP_IPV6ONLY : 0)),
  );
  if (typeof handle !== 'number') return handle;
  throw Object.assign(new Error(`cannot bind ${host}:${port} in a network namespace`), {
    code: getSystemErrorName(handle),
  });
}

function unreachable(message: string): Error {
  return Object.assign(new Error(message), { code: 'ECONNREFUSED' });
}
