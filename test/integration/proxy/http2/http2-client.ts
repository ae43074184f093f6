import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';

export interface Http2Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: IncomingHttpHeaders;
  /** Of 1xx answers, in order. */
  readonly interim: readonly IncomingHttpHeaders[];
  /** 0 = a proper end. */
  readonly rstCode: number;
}

/** One request on a stream of its own, and all of its answer. */
export async function exchange(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string | Buffer | ((stream: ClientHttp2Stream) => void),
): Promise<Http2Reply> {
  const stream = session.request(headers, { endStream: body === undefined });
  const reply = replyOf(stream);
  if (typeof body === 'function') body(stream);
  else if (body !== undefined) stream.end(body);
  return await reply;
}

/** Reads an answer to its end, whatever that is. */
export async function replyOf(stream: ClientHttp2Stream): Promise<Http2Reply> {
  const interim: IncomingHttpHeaders[] = [];
  const chunks: Buffer[] = [];
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  stream.on('error', () => undefined);
  stream.on('headers', (some) => interim.push(some)).on('response', (all) => (headers = all));
  stream.on('trailers', (all) => (trailers = all)).on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve) => (stream.destroyed ? resolve() : stream.once('close', () => resolve())));
  return {
    status: Number(headers[':status'] ?? 0),
    headers,
    body: Buffer.concat(chunks),
    trailers,
    interim,
    rstCode: stream.rstCode,
  };
}
