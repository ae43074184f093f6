/**
 * What Podgate and the file server in a pod send each other: messages (JSON) and pieces of files, each with its length
 * before it. A frame is a byte for its kind, four for its length, and so many bytes.
 */
export type Frame =
  | { readonly kind: 'message'; readonly message: Readonly<Record<string, unknown>> }
  | { readonly kind: 'bytes'; readonly bytes: Buffer };

const MESSAGE = 1;
const BYTES = 2;
const HEADER_BYTES = 5;
export const FRAME_MAX_BYTES = 1024 * 1024;

/** Of both sides. Another one, of another release of Podgate, is not spoken to. */
export const PROTOCOL = 2;

export function messageFrame(message: object): Buffer {
  return frame(MESSAGE, Buffer.from(JSON.stringify(message)));
}

/** At most FRAME_MAX_BYTES. */
export function bytesFrame(bytes: Uint8Array): Buffer {
  return frame(BYTES, bytes);
}

function frame(kind: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(kind, 0);
  header.writeUInt32BE(body.length, 1);
  return Buffer.concat([header, body]);
}

/** The frames of a stream, which ends between two of them. Throws for anything that is no frame. */
export async function* readFrames(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let neededBytes = HEADER_BYTES;
  for await (const piece of pieces) {
    waiting.push(piece);
    waitingBytes += piece.length;
    if (waitingBytes < neededBytes) continue;
    let rest = Buffer.concat(waiting);
    for (;;) {
      neededBytes = HEADER_BYTES;
      if (rest.length < HEADER_BYTES) break;
      const length = rest.readUInt32BE(1);
      if (length > FRAME_MAX_BYTES) throw new Error(`a frame of ${length} bytes`);
      neededBytes = HEADER_BYTES + length;
      if (rest.length < neededBytes) break;
      yield frameOf(rest.readUInt8(0), rest.subarray(HEADER_BYTES, neededBytes));
      rest = rest.subarray(neededBytes);
    }
    waiting = [rest];
    waitingBytes = rest.length;
  }
  if (waitingBytes > 0) throw new Error('the stream ends within a frame');
}

function frameOf(kind: number, body: Buffer): Frame {
  if (kind === BYTES) return { kind: 'bytes', bytes: body };
  const message: unknown = kind === MESSAGE ? JSON.parse(body.toString('utf8')) : null;
  if (typeof message !== 'object' || message === null || Array.isArray(message)) throw new Error('not a frame');
  return { kind: 'message', message: { ...message } };
}
