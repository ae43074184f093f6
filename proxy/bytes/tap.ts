import { type NetConnectOpts, Socket } from 'node:net';
import type { DialGuard } from '../../core/pod-network.ts';
import { connectGuarded } from '../socket/connect-guarded.ts';
import { surviveFailedWrites } from './write-failures.ts';

/**
 * Takes bytes as they are read. False: read no more until `readOn`. Bytes of a socket made by `connectTappable` are lent:
 * what is not used before the tap returns has to be copied.
 */
export type Tap = (bytes: Buffer) => boolean;

/** Large, so that bulk costs few calls; one for all sockets, so that neither reading nor idling costs memory. */
const READ_BYTES = 262_144;
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);
const taps = new WeakMap<Socket, Tap>();

/**
 * Connects a socket that reads into a buffer which all of them share, and that survives failed writes. Until it is tapped it
 * is a stream like any other. Whether the right user answers (`ownerUid`) is for the caller to check.
 */
export function connectTappable(options: NetConnectOpts, guard: DialGuard = {}): Socket {
  const onread = {
    buffer: readBuffer,
    callback: (length: number): boolean => taps.get(socket)?.(readBuffer.subarray(0, length)) ?? false,
  };
  const socket: Socket = connectGuarded({ ...options, onread }, guard);
  taps.set(socket, (bytes) => socket.push(Buffer.from(bytes)));
  // Unix sockets have no reset: Node throws.
  if ('path' in options) socket.resetAndDestroy = () => socket.destroy();
  surviveFailedWrites(socket);
  return socket;
}

/** Is what its tap is given lent? */
export function lends(socket: Socket): boolean {
  return taps.has(socket);
}

/**
 * From now on what is read goes to `tap` and bypasses the stream, whose work at each read costs a fifth of a session's CPU
 * time (measured). Node hands each read to `push`, which is a method for implementations of streams. Ends and errors are
 * still reported by the stream's events. What the stream has buffered must be read before.
 */
export function tap(socket: Socket, taken: Tap): void {
  if (taps.has(socket)) taps.set(socket, taken);
  else
    socket.push = (bytes: Buffer | null) => (bytes === null ? Socket.prototype.push.call(socket, null) : taken(bytes));
}

/** Once a tap has said false. */
export function readOn(socket: Socket): void {
  if (!socket.destroyed) socket._read(0);
}
