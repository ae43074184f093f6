import { createHash, randomBytes } from 'node:crypto';
import { valuesOf } from '../wire/fields.ts';
import type { RequestHead } from '../wire/head.ts';

/** RFC 6455 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** HTTP/2 needs no proof that a server has understood, HTTP/1.1 does: we ask for it in the client's place (RFC 8441 5). */
export function createWebSocketKey(): string {
  return randomBytes(16).toString('base64');
}

export function withWebSocketKey(head: RequestHead, key: string): RequestHead {
  const rawHeaders: string[] = [];
  for (let index = 0; index + 1 < head.rawHeaders.length; index += 2) {
    const name = head.rawHeaders[index] ?? '';
    if (name !== 'sec-websocket-key') rawHeaders.push(name, head.rawHeaders[index + 1] ?? '');
  }
  return { ...head, rawHeaders: [...rawHeaders, 'sec-websocket-key', key] };
}

/** Does this answer prove that its sender speaks WebSocket? */
export function isWebSocketAccept(key: string | null, fields: readonly string[]): boolean {
  if (key === null) return false;
  const expected = createHash('sha1')
    .update(key + GUID)
    .digest('base64');
  return valuesOf(fields, 'sec-websocket-accept') === expected;
}
