import { Readable } from 'node:stream';

import type { RouterContext } from '@koa/router';

import { within } from '../../core/abort.ts';
import { PodgateError } from '../../core/errors.ts';
import { envelopePieces, replyEnvelope } from './envelope.ts';
import type { ExchangeState } from './exchange.ts';
import { contentTag, entityTag, isNoneMatch } from './if-match.ts';
import type {
  BytesReply,
  EventsReply,
  HtmlReply,
  JsonPiecesReply,
  JsonReply,
  LateReply,
  OperationLimits,
  RedirectReply,
  Reply,
  UpgradeReply,
} from './operation.ts';
import { PAGE_HEADERS } from './pages.ts';
import type { Upgrades } from './upgrade.ts';

/** A larger body is handed to the socket in pieces of this size, so that it is seen how much the client has taken. */
const PIECE_BYTES = 64 * 1024;

export interface RespondOptions {
  readonly version: string;
  /** The call has changed nothing: it can still be refused for the size of its response. */
  readonly isSafe: boolean;
  readonly limits: OperationLimits;
  readonly upgrades: Upgrades;
}

/** Sets the response. Rejects with what kept the first piece from being made. */
export async function respond(
  context: RouterContext<ExchangeState>,
  reply: Reply,
  options: RespondOptions,
): Promise<void> {
  switch (reply.kind) {
    case 'json':
      respondJson(context, reply, options);
      break;
    case 'json-pieces':
      await respondPieces(context, reply, options);
      break;
    case 'late':
      await respondLate(context, reply, options);
      break;
    case 'events':
      await respondEvents(context, reply);
      break;
    case 'bytes':
      respondBytes(context, reply);
      break;
    case 'document':
      context.body = Buffer.from(reply.bytes.buffer, reply.bytes.byteOffset, reply.bytes.byteLength);
      context.type = reply.type;
      break;
    case 'html':
      respondHtml(context, reply);
      break;
    case 'redirect':
      respondRedirect(context, reply);
      break;
    case 'upgrade':
      respondUpgrade(context, reply, options);
  }
}

function respondJson(
  context: RouterContext<ExchangeState>,
  reply: JsonReply,
  { version, isSafe }: RespondOptions,
): void {
  const { call } = context.state;
  const body = Buffer.from(JSON.stringify(replyEnvelope(reply, version)));
  if (isSafe) call.reserve(body.length);
  else call.hold(body.length);
  setHead(context, reply);
  if (isSafe && reply.generation === undefined && isUnchanged(context, body)) return;
  // A number counts changes of what users may change; a tag of the state covers all that there is.
  if (isSafe && typeof reply.generation === 'string' && hasAlready(context, entityTag(reply.generation))) return;
  context.body = body.length > PIECE_BYTES ? Readable.from(piecesOf(body)) : body;
  context.length = body.length;
  context.type = 'json';
}

/** Tags the response by its content; true: that is what the client has already, and it gets a 304. */
function isUnchanged(context: RouterContext<ExchangeState>, body: Buffer): boolean {
  const tag = contentTag(body);
  context.set('ETag', tag);
  return hasAlready(context, tag);
}

function hasAlready(context: RouterContext<ExchangeState>, tag: string): boolean {
  if (!isNoneMatch(context.get('If-None-Match'), tag)) return false;
  context.status = 304;
  context.body = null;
  return true;
}

async function respondPieces(
  context: RouterContext<ExchangeState>,
  reply: JsonPiecesReply,
  { version, isSafe, limits }: RespondOptions,
): Promise<void> {
  const pieces = await withFirst(neverIdle(reply.pieces, limits.idleMs));
  const texts = paced(envelopePieces({ ...reply, pieces }, version), context.state.turn);
  setHead(context, reply);
  // What is small is made before its head leaves: so it has a tag, and a failure is answered as one.
  const { whole, rest } = isSafe ? await beginningOf(texts, PIECE_BYTES) : { whole: null, rest: texts };
  if (whole === null) streamPieces(context, rest, pieces);
  else if (isUnchanged(context, whole)) return;
  else context.body = whole;
  context.type = 'json';
}

function streamPieces(
  context: RouterContext<ExchangeState>,
  texts: AsyncIterable<string>,
  source: AsyncIterable<string>,
): void {
  const body = Readable.from(texts);
  // For HEAD the generators above are never begun, and then do not end the one behind them.
  body.once('close', () => void endOf(source));
  context.body = body;
}

/** `whole`: all of a text that is shorter than so many characters; otherwise all of it is in `rest`. */
async function beginningOf(
  texts: AsyncGenerator<string>,
  characters: number,
): Promise<
  { readonly whole: Buffer; readonly rest: null } | { readonly whole: null; readonly rest: AsyncIterable<string> }
> {
  let text = '';
  while (text.length < characters) {
    const next = await texts.next();
    if (next.done === true) return { whole: Buffer.from(text), rest: null };
    text += next.value;
  }
  const rest = async function* (): AsyncGenerator<string> {
    yield text;
    yield* texts;
  };
  return { whole: null, rest: rest() };
}

async function respondLate(
  context: RouterContext<ExchangeState>,
  { reply }: LateReply,
  options: RespondOptions,
): Promise<void> {
  const { idleMs, silenceMs } = options.limits;
  const early = await within(reply, silenceMs);
  if (early !== null) {
    await respondPieces(context, early, options);
    return;
  }
  context.status = 200;
  context.body = Readable.from(paced(neverIdle(latePieces(context.state, reply, options), idleMs), context.state.turn));
  context.type = 'json';
}

async function* latePieces(
  { failed }: ExchangeState,
  reply: LateReply['reply'],
  { limits: { silenceMs }, version }: RespondOptions,
): AsyncGenerator<string> {
  let made: JsonPiecesReply | null = null;
  while (made === null) {
    yield ' ';
    try {
      made = await within(reply, silenceMs);
    } catch (error) {
      yield JSON.stringify(failed(error));
      return;
    }
  }
  yield* envelopePieces(made, version);
}

/**
 * Each event leaves at once: nothing on the way may gather them, which X-Accel-Buffering says to nginx. Koa destroys the
 * body when the response is over, also that of a HEAD, which nobody reads: so the stream always ends.
 */
async function respondEvents(context: RouterContext<ExchangeState>, { events }: EventsReply): Promise<void> {
  const pieces = await withFirst(events);
  context.state.call.leave();
  context.set('X-Accel-Buffering', 'no');
  context.body = Readable.from(pieces);
  context.type = 'text/event-stream';
}

/** Whatever becomes of the response, the file behind it is closed. */
function respondBytes(context: RouterContext<ExchangeState>, reply: BytesReply): void {
  const { status, type, length, headers, bytes, release } = reply;
  const body = Readable.from(bytes, { objectMode: false, highWaterMark: PIECE_BYTES });
  // Koa destroys it when the response has ended, also where nothing of it was taken (HEAD).
  body.once('close', () => void release());
  context.status = status ?? 200;
  context.set(headers);
  context.body = body;
  context.type = type;
  if (length !== null) context.length = length;
}

function respondHtml(context: RouterContext<ExchangeState>, { status, html }: HtmlReply): void {
  context.status = status ?? 200;
  context.set(PAGE_HEADERS);
  context.body = html;
  context.type = 'html';
}

/** The body is for clients that follow no redirect. */
function respondRedirect(context: RouterContext<ExchangeState>, reply: RedirectReply): void {
  const { status, location, setCookie } = reply;
  context.status = status;
  context.set('Location', location);
  if (setCookie !== undefined) context.set('Set-Cookie', setCookie);
  context.body = `${location}\n`;
  context.type = 'text';
}

/** The response is over with its head: what follows is the operation's. */
function respondUpgrade(
  context: RouterContext<ExchangeState>,
  reply: UpgradeReply,
  { limits, upgrades }: RespondOptions,
): void {
  const { state, req, res } = context;
  const failed = (error: unknown): string => {
    const { message } = state.failed(error);
    return typeof message === 'string' ? message : message.join(' ');
  };
  upgrades.accept(req, res, reply, { limits, failed });
  state.call.leave();
  // For the log: nothing writes it.
  context.status = 101;
  context.respond = false;
}

function setHead(context: RouterContext<ExchangeState>, reply: JsonReply | JsonPiecesReply): void {
  const { status, generation, setCookie } = reply;
  context.status = status ?? 200;
  if (generation !== undefined) context.set('ETag', entityTag(generation));
  if (setCookie !== undefined) context.set('Set-Cookie', setCookie);
}

/**
 * The same pieces; fails when one takes longer than `idleMs` to make. One timer for all of them: a list of 10,000 pods
 * has hundreds of pieces.
 */
function neverIdle(pieces: AsyncIterable<string>, idleMs: number): AsyncIterable<string> {
  const iterator = pieces[Symbol.asyncIterator]();
  /** Of the piece that is being made. */
  let making: { readonly sinceMs: number; readonly fail: (error: unknown) => void } | null = null;
  let timer: NodeJS.Timeout | null = null;
  const check = (): void => {
    timer = null;
    if (making === null) return;
    const leftMs = making.sinceMs + idleMs - performance.now();
    if (leftMs > 0) {
      timer = setTimeout(check, Math.ceil(leftMs));
      return;
    }
    // Takes effect once the piece that is late has been made: nobody waits for that.
    void iterator.return?.();
    making.fail(new PodgateError('api.internal', { detail: `no piece of the response within ${idleMs} ms` }));
  };
  const stop = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
  };
  return {
    [Symbol.asyncIterator]: () => ({
      next: () =>
        new Promise<IteratorResult<string>>((resolve, reject) => {
          const fail = (error: unknown): void => {
            making = null;
            stop();
            reject(error instanceof Error ? error : new PodgateError('api.internal', { cause: error }));
          };
          making = { sinceMs: performance.now(), fail };
          timer ??= setTimeout(check, idleMs);
          iterator.next().then((result) => {
            making = null;
            if (result.done === true) stop();
            resolve(result);
          }, fail);
        }),
      async return() {
        stop();
        await iterator.return?.();
        return { done: true, value: undefined };
      },
    }),
  };
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

/** Lets a source of pieces release what it holds. It may have failed; its consumer knows that already. */
async function endOf(pieces: AsyncIterable<string>): Promise<void> {
  await pieces[Symbol.asyncIterator]()
    .return?.()
    .catch(() => undefined);
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
