import { Readable } from 'node:stream';

import type { RouterContext } from '@koa/router';

import { envelopePieces, replyEnvelope } from './envelope.ts';
import type { ExchangeState } from './exchange.ts';
import { entityTag } from './if-match.ts';
import type { JsonReply, Reply, StreamReply } from './operation.ts';

/** A larger body is handed to the socket in pieces of this size, so that it is seen how much the client has taken. */
const PIECE_BYTES = 64 * 1024;

export interface RespondOptions {
  readonly version: string;
  /** The call has changed nothing: it can still be refused for the size of its response. */
  readonly isSafe: boolean;
}

/** Sets the response. Rejects with what kept the first piece of a stream from being made. */
export async function respond(
  context: RouterContext<ExchangeState>,
  reply: Reply,
  { version, isSafe }: RespondOptions,
): Promise<void> {
  const { call, turn } = context.state;
  if ('pieces' in reply) {
    const pieces = await withFirst(reply.pieces);
    setHead(context, reply);
    context.body = Readable.from(paced(envelopePieces({ ...reply, pieces }, version), turn));
    context.type = 'json';
    return;
  }
  const body = Buffer.from(JSON.stringify(replyEnvelope(reply, version)));
  if (isSafe) call.reserve(body.length);
  else call.hold(body.length);
  setHead(context, reply);
  context.body = body.length > PIECE_BYTES ? Readable.from(piecesOf(body)) : body;
  context.length = body.length;
  context.type = 'json';
}

function setHead(context: RouterContext<ExchangeState>, { status, generation }: JsonReply | StreamReply): void {
  context.status = status ?? 200;
  if (generation !== undefined) context.set('ETag', entityTag(generation));
}

/** The same pieces, once the first of them has been made: what fails until then can still be answered. */
async function withFirst(pieces: AsyncIterable<string>): Promise<AsyncIterable<string>> {
  const iterator = pieces[Symbol.asyncIterator]();
  let first: IteratorResult<string> | null = await iterator.next();
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        const next = first ?? (await iterator.next());
        first = null;
        return next;
      },
      async return() {
        await iterator.return?.();
        return { done: true, value: undefined };
      },
    }),
  };
}

/** Each piece is made in a turn of its own. */
async function* paced(pieces: AsyncIterable<string>, turn: () => Promise<void>): AsyncGenerator<string> {
  for await (const piece of pieces) {
    yield piece;
    await turn();
  }
}

function* piecesOf(body: Buffer): Generator<Buffer> {
  for (let start = 0; start < body.length; start += PIECE_BYTES) yield body.subarray(start, start + PIECE_BYTES);
}
