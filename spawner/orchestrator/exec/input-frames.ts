/** Each starts two programs in the pod, which hold it in memory. */
const FRAME_BYTES = 256 * 1024;

/** The input of a command in frames for an EXEC_SCRIPT: small pieces are sent as one. */
export async function* inputFrames(input: Uint8Array | AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of input instanceof Uint8Array ? [input] : input) {
    waiting.push(piece);
    bytes += piece.length;
    if (bytes < FRAME_BYTES) continue;
    const all = Buffer.concat(waiting);
    let at = 0;
    for (; at + FRAME_BYTES <= bytes; at += FRAME_BYTES) yield all.subarray(at, at + FRAME_BYTES);
    waiting = [all.subarray(at)];
    bytes -= at;
  }
  if (bytes > 0) yield Buffer.concat(waiting);
}
