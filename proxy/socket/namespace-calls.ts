import { closeSync, fstatSync, openSync } from 'node:fs';
import type { NetworkNamespace } from '../../core/pod-network.ts';

/** sched.h, sys/socket.h */
const CLONE_NEWNET = 0x4000_0000;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const ADDRESS_FAMILY = { 4: 2, 6: 10 } as const;

/** `lost`: this thread is still in the other namespace, and must do nothing on the network any more. */
export type SocketMade = { readonly kind: 'fd'; readonly fd: number } | { readonly kind: 'gone' | 'refused' | 'lost' };

/** Makes sockets of other network namespaces on the thread that it was opened on. */
export interface NamespaceCalls {
  socket(namespace: NetworkNamespace, family: 4 | 6): SocketMade;
}

/**
 * Null when this thread cannot enter other namespaces and come back. `isolate` moves it into an empty namespace for good
 * and comes back there: the one of the machine belongs to another user namespace, where nobody has the rights to return.
 */
export function openNamespaceCalls(isolate: boolean): NamespaceCalls | null {
  if (process.platform !== 'linux') return null;
  try {
    // Loaded only here: it is experimental, and announces that with a warning.
    const { functions } = process.getBuiltinModule('node:ffi').dlopen(null, {
      setns: { arguments: ['i32', 'i32'], return: 'i32' },
      unshare: { arguments: ['i32'], return: 'i32' },
      socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
    });
    const { setns, unshare, socket } = functions;
    if (isolate && unshare(CLONE_NEWNET) !== 0) return null;
    const own = openSync(isolate ? '/proc/thread-self/ns/net' : '/proc/self/ns/net', 'r');
    if (setns(own, CLONE_NEWNET) !== 0) return null;
    return {
      socket: ({ path, inode }, family) => {
        let entry: number;
        try {
          entry = openSync(path, 'r');
        } catch {
          return { kind: 'gone' };
        }
        try {
          if (fstatSync(entry).ino !== inode) return { kind: 'gone' };
          if (setns(entry, CLONE_NEWNET) !== 0) return { kind: 'refused' };
        } finally {
          closeSync(entry);
        }
        const fd = socket(ADDRESS_FAMILY[family], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (setns(own, CLONE_NEWNET) !== 0) return { kind: 'lost' };
        return fd < 0 ? { kind: 'refused' } : { kind: 'fd', fd };
      },
    };
  } catch {
    // An older Node.
    return null;
  }
}
