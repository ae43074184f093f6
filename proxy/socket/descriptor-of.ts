import type { Socket } from 'node:net';

/** The number of its file descriptor; null where it has none (closed, or a pipe of Windows). Not in Node's types. */
export function descriptorOf(socket: Socket): number | null {
  const { _handle: handle } = socket as unknown as { readonly _handle?: { readonly fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : null;
}
