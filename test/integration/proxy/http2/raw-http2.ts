import type { TLSSocket } from 'node:tls';
import { until } from '../../../support/until.ts';

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block of literals without indexing or compression, so that any byte can be said (RFC 7541 6.2.2). */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const prefix: number[] = [];
  if (bytes.length < 127) prefix.push(bytes.length);
  else {
    prefix.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) prefix.push((rest % 128) + 128);
    prefix.push(rest);
  }
  return Buffer.concat([Buffer.from(prefix), bytes]);
}

/** Speaks HTTP/2 frame by frame: for what no library lets one say. */
export class RawHttp2 {
  readonly socket: TLSSocket;
  readonly frames: Frame[] = [];
  isClosed = false;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('error', () => undefined).once('close', () => (this.isClosed = true));
    socket.on('data', (chunk: Buffer) => this.#read(chunk)).once('end', () => (this.isClosed = true));
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(FRAME.settings, 0, 0)]));
  }

  send(...frames: readonly Buffer[]): boolean {
    return this.socket.writable && this.socket.write(Buffer.concat(frames));
  }

  request(stream: number, fields: readonly (readonly [string, string])[], endsHere = true): void {
    this.send(frame(FRAME.headers, END_HEADERS | (endsHere ? END_STREAM : 0), stream, block(fields)));
  }

  /** Both sides know the other's settings. */
  async settled(): Promise<void> {
    this.send(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
    await until('the settings are known', () => this.frames.some(({ type }) => type === FRAME.ping));
  }

  /** What ended this stream: a reset's code, 'end' for a proper end, 'closed' with the connection. */
  async endOf(stream: number): Promise<{ readonly end: number | 'end' | 'closed'; readonly goaway: number | null }> {
    const ended = (): number | 'end' | null => {
      for (const { type, flags, stream: id, payload } of this.frames) {
        if (id !== stream) continue;
        if (type === FRAME.reset) return payload.readUInt32BE(0);
        if ((type === FRAME.data || type === FRAME.headers) && (flags & END_STREAM) !== 0) return 'end';
      }
      return null;
    };
    await until('the stream or its connection ends', () => ended() !== null || this.isClosed);
    return { end: ended() ?? 'closed', goaway: this.goaway };
  }

  /** The code of the last GOAWAY. */
  get goaway(): number | null {
    const last = this.frames.findLast(({ type }) => type === FRAME.goaway);
    return last === undefined ? null : last.payload.readUInt32BE(4);
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      const [type = 0, flags = 0] = this.#rest.subarray(3, 5);
      const one: Frame = {
        type,
        flags,
        stream: this.#rest.readUInt32BE(5) & 0x7fffffff,
        payload: Buffer.from(this.#rest.subarray(9, 9 + length)),
      };
      this.#rest = this.#rest.subarray(9 + length);
      this.frames.push(one);
      if (one.type === FRAME.settings && (one.flags & ACK) === 0) this.send(frame(FRAME.settings, ACK, 0));
    }
  }
}
