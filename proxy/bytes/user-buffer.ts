import { Socket } from 'node:net';

/** What TLSWrap hands on at most at once (kClearOutChunkSize in Node's src/crypto/crypto_tls.h), a full TLS record. */
export const FULL_RECORD_BYTES = 16_384;

const landing = Buffer.allocUnsafeSlow(FULL_RECORD_BYTES);

/** Properties of a socket that was made with `onread`; Node has no public way to change over while it is open. */
interface OnreadSymbols {
  readonly buffer: symbol;
  readonly callback: symbol;
}

/** Undefined: not looked up yet. Null: this Node has other names for them. */
let symbols: OnreadSymbols | null | undefined;

function findSymbols(): OnreadSymbols | null {
  const probe = new Socket({ onread: { buffer: landing, callback: () => true } });
  const named = new Map(Object.getOwnPropertySymbols(probe).map((symbol) => [symbol.description, symbol]));
  probe.destroy();
  const [buffer, callback] = [named.get('kBuffer'), named.get('kBufferCb')];
  return buffer === undefined || callback === undefined ? null : { buffer, callback };
}

/**
 * From now on what this open socket reads is copied into one buffer that all such sockets share, and `taken` is called with
 * it: without a new ArrayBuffer for each read. The bytes are lent until `taken` returns. False from it: read no more until
 * `readOn`. The end and errors are events of the stream as ever. False: this Node cannot, and nothing has changed.
 */
export function readIntoSharedBuffer(socket: Socket, taken: (bytes: Buffer) => boolean): boolean {
  if (symbols === undefined) symbols = findSymbols();
  const { _handle: handle } = socket as unknown as { _handle: { useUserBuffer?(buffer: Buffer): void } | null };
  if (symbols === null || handle?.useUserBuffer === undefined) return false;
  const own = socket as unknown as Record<symbol, unknown>;
  own[symbols.buffer] = landing;
  own[symbols.callback] = (length: number): boolean => taken(landing.subarray(0, length));
  handle.useUserBuffer(landing);
  return true;
}
