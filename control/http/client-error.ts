import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

import { errorCode } from '../../core/error-code.ts';
import { ERRORS } from '../../core/errors.ts';
import type { Envelope } from './envelope.ts';
import { HTTP_STATUS } from './status-codes.ts';

/**
 * Listener for 'clientError' of the server: bytes that are no HTTP request, headers that are too large or too slow. It
 * answers with the envelope, where an answer can still be read, and closes.
 */
export function answerClientError(version: string): (error: Error, socket: Duplex) => void {
  return (error, socket) => {
    const code = errorCode(error);
    if (!socket.writable || code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const { status, message } = answerOf(code);
    const envelope: Envelope = { message, metadata: {}, result: null, status: 'error', version };
    const body = JSON.stringify(envelope);
    socket.end(
      [
        `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
        'Content-Type: application/json',
        `Content-Length: ${Buffer.byteLength(body)}`,
        'Connection: close',
        '',
        body,
      ].join('\r\n'),
    );
  };
}

function answerOf(code: unknown): { readonly status: number; readonly message: string } {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: HTTP_STATUS['api.timeout'], message: ERRORS['request.timeout'].message };
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, message: 'The headers are too large.' };
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return { status: HTTP_STATUS['api.too-large'], message: ERRORS['request.too-large'].message };
    default:
      return { status: HTTP_STATUS['request.malformed'], message: ERRORS['request.malformed'].message };
  }
}
