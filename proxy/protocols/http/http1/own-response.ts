import type { RenderedResponse } from '../responses/page.ts';
import type { Framing } from '../wire/body-reader.ts';
import { expectsContinue } from '../wire/connection-header.ts';
import type { RequestHead } from '../wire/head.ts';
import { headText, statusLine } from '../wire/write-head.ts';

/** Bodies up to this size are read and discarded when their request is refused; otherwise the connection is closed. */
const DRAINED_BODY_BYTES = 64 * 1024;
/** After which the connection is closed: what follows may not be a request, may be for another host, or comes too slowly. */
const FINAL_STATUSES: ReadonlySet<number> = new Set([400, 408, 421]);

/** The bytes of a response of the gateway to a request whose head was read. */
export function ownResponse(
  { status, headers, body }: RenderedResponse,
  { method }: RequestHead,
  keepsAlive: boolean,
): Buffer {
  const text = headText(statusLine(status), [...headers, ...(keepsAlive ? [] : ['Connection', 'close'])]);
  const bytes = Buffer.from(text, 'latin1');
  return method === 'HEAD' ? bytes : Buffer.concat([bytes, body]);
}

/** Whether the connection is closed after such a response. `unread`: how the rest of its body ends; null = it was read. */
export function isFinalResponse(status: number, head: RequestHead, unread: Framing | null): boolean {
  if (FINAL_STATUSES.has(status)) return true;
  // A client that waits for 100 (Continue) may or may not send its body now: only a new connection is clear.
  return unread !== null && (isLong(unread) || expectsContinue(head));
}

function isLong(framing: Framing): boolean {
  return framing.kind === 'chunked' || (framing.kind === 'length' && framing.bytes > DRAINED_BODY_BYTES);
}
