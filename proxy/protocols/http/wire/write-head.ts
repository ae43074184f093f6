import { STATUS_CODES } from 'node:http';

/** A message's first line and fields as latin1 text, with the empty line. Names and values come from a strict parser or from us. */
export function headText(firstLine: string, fields: readonly string[]): string {
  let text = firstLine;
  for (let index = 0; index + 1 < fields.length; index += 2) {
    text += `\r\n${fields[index] ?? ''}: ${fields[index + 1] ?? ''}`;
  }
  return `${text}\r\n\r\n`;
}

export function statusLine(status: number, reason: string = STATUS_CODES[status] ?? ''): string {
  return `HTTP/1.1 ${status} ${reason}`;
}

const CRLF = Buffer.from('\r\n');

interface Writer {
  write(bytes: Buffer | string, encoding?: 'latin1'): boolean;
}

/** One chunk of a chunked body; false when the reader is slow. To be corked by the caller. */
export function writeChunk(writer: Writer, piece: Buffer): boolean {
  writer.write(`${piece.length.toString(16)}\r\n`, 'latin1');
  writer.write(piece);
  return writer.write(CRLF);
}

/** The end of a chunked body. */
export function lastChunk(trailers: readonly string[]): string {
  return trailers.length === 0 ? '0\r\n\r\n' : headText('0', trailers);
}
