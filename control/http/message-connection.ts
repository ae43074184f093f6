import type { WebSocket } from 'ws';

import { durationText } from '../../core/duration-text.ts';
import type { Closing, Message, MessageSocket, OperationLimits } from './operation.ts';

/** RFC 6455 7.4.1. */
const POLICY_VIOLATION = 1008;
const INTERNAL_ERROR = 1011;
/** RFC 6455 5.5: of the payload of a Close, which begins with a code of two bytes. */
const REASON_MAX_BYTES = 123;
/** A client that does not answer a ping before the next one is gone. */
const PING_MS = 30_000;
/** Of messages that have arrived and wait to be taken: beyond it, nothing more is read from the client. */
const QUEUE_BYTES = 64 * 1024;

export interface ConnectionLimits extends Pick<OperationLimits, 'idleMs' | 'lifetimeMs'> {
  /** Default: 30 s. */
  readonly pingMs?: number;
}

/** A WebSocket as an operation sees it: messages both ways, each side waiting for the other, and an end in time. */
export class MessageConnection implements MessageSocket {
  readonly #webSocket: WebSocket;
  readonly #limits: ConnectionLimits;
  readonly #ended = new AbortController();
  readonly #received: Message[] = [];
  #receivedBytes = 0;
  #wake: () => void = () => undefined;
  #lastMessageMs = performance.now();
  #hasAnswered = true;

  constructor(webSocket: WebSocket, limits: ConnectionLimits) {
    this.#webSocket = webSocket;
    this.#limits = limits;
    webSocket.on('message', (data, isBinary) => {
      // A single Buffer: binaryType is 'nodebuffer'.
      if (Buffer.isBuffer(data)) this.#receive(data, isBinary);
    });
    webSocket.on('pong', () => {
      this.#hasAnswered = true;
    });
    // For a message that is too large or malformed, ws has closed the connection with the reason.
    webSocket.on('error', () => undefined);
    webSocket.once('close', () => this.#end());
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  async *messages(): AsyncGenerator<Message> {
    for (;;) {
      const message = this.#received.shift();
      if (message !== undefined) {
        this.#receivedBytes -= sizeOf(message);
        if (this.#webSocket.isPaused && this.#receivedBytes <= QUEUE_BYTES) this.#webSocket.resume();
        yield message;
        continue;
      }
      if (this.#ended.signal.aborted) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  send(message: Uint8Array | string): Promise<void> {
    this.#lastMessageMs = performance.now();
    return new Promise((resolve, reject) => {
      this.#webSocket.send(message, (error) => {
        // Its types say undefined for none, and it is null as well.
        if (error instanceof Error) reject(error);
        else resolve();
      });
    });
  }

  /** The first call counts. `reason` is cut off where it does not fit. */
  close(code: number, reason: string): void {
    // The client's Close is behind what is not read yet.
    this.#webSocket.resume();
    this.#webSocket.close(code, reasonOf(reason));
    this.#end();
  }

  /**
   * Until `work` is done or the client has left; closes the connection with what `work` returns. Never rejects: `failed`
   * gets what `work` throws, and returns a sentence for the client.
   */
  async serve(work: (socket: MessageSocket) => Promise<Closing>, failed: (error: unknown) => string): Promise<void> {
    const { lifetimeMs, idleMs, pingMs = PING_MS } = this.#limits;
    const lifetime = setTimeout(() => {
      this.close(POLICY_VIOLATION, `This connection has been open for ${durationText(lifetimeMs)}, the maximum.`);
    }, lifetimeMs);
    const ping = setInterval(() => this.#ping(), pingMs);
    const idle = setInterval(
      () => {
        if (performance.now() - this.#lastMessageMs < idleMs) return;
        this.close(POLICY_VIOLATION, `Nothing was sent either way for ${durationText(idleMs)}.`);
      },
      Math.min(pingMs, idleMs / 4),
    );
    try {
      const { code, reason } = await work(this);
      this.close(code, reason);
    } catch (error) {
      this.close(INTERNAL_ERROR, failed(error));
    } finally {
      clearTimeout(lifetime);
      clearInterval(ping);
      clearInterval(idle);
    }
  }

  #receive(bytes: Buffer, isBinary: boolean): void {
    if (this.#ended.signal.aborted) return;
    this.#lastMessageMs = performance.now();
    this.#received.push(isBinary ? { kind: 'binary', bytes } : { kind: 'text', text: bytes.toString() });
    this.#receivedBytes += bytes.length;
    if (this.#receivedBytes > QUEUE_BYTES) this.#webSocket.pause();
    this.#wake();
  }

  #ping(): void {
    const { readyState, OPEN, isPaused } = this.#webSocket;
    if (readyState !== OPEN) return;
    // While nothing is read, neither is a pong.
    if (!this.#hasAnswered && !isPaused) {
      this.#webSocket.terminate();
      return;
    }
    this.#hasAnswered = false;
    this.#webSocket.ping();
  }

  #end(): void {
    this.#ended.abort();
    this.#wake();
  }
}

function sizeOf(message: Message): number {
  return message.kind === 'text' ? Buffer.byteLength(message.text) : message.bytes.length;
}

function reasonOf(text: string): Buffer {
  let end = text.length;
  while (Buffer.byteLength(text.slice(0, end)) > REASON_MAX_BYTES) end -= 1;
  return Buffer.from(text.slice(0, end).toWellFormed());
}
