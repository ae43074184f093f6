/** A head(1) is started for each frame: many small pieces are sent as one. */
const FRAME_BYTES = 256 * 1024;
const END = Buffer.from('0\n');

/**
 * Sends what an EXEC_SCRIPT reads: the input of its command, in frames that begin with their size. `send` resolves when
 * there is room for more, and may reject once the command has ended. `failed` gets what the input throws.
 */
export async function sendInput(
  input: Uint8Array | AsyncIterable<Uint8Array>,
  send: (bytes: Uint8Array) => Promise<void>,
  failed: (error: unknown) => void,
): Promise<void> {
  const isSent = (bytes: Uint8Array): Promise<boolean> =>
    send(bytes).then(
      () => true,
      () => false,
    );
  try {
    for await (const bytes of input instanceof Uint8Array ? wholeOf(input) : gathered(input)) {
      if (!(await isSent(Buffer.concat([Buffer.from(`${bytes.length}\n`), bytes])))) return;
    }
  } catch (error) {
    failed(error);
    return;
  }
  await isSent(END);
}

function wholeOf(input: Uint8Array): readonly Uint8Array[] {
  return input.length === 0 ? [] : [input];
}

async function* gathered(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    waiting.push(piece);
    bytes += piece.length;
    if (bytes < FRAME_BYTES) continue;
    yield Buffer.concat(waiting);
    waiting = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(waiting);
}
