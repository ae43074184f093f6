import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

/**
 * A request's body as a stream that may be destroyed without harm. Destroying the IncomingMessage itself - which undici
 * does with the body of a request that is answered early or fails - would cut the client's connection before it has read
 * its answer. What is left of the body is read and forgotten then; a body of which nothing was read stays whole, for the
 * next attempt.
 */
export class RequestBody extends Readable {
  readonly #request: IncomingMessage;
  #touched = false;

  constructor(request: IncomingMessage) {
    super({ highWaterMark: 64 * 1024 });
    this.#request = request;
    // undici stops listening when an answer has ended; an error after that must not stop the process.
    this.on('error', () => undefined);
  }

  override _construct(callback: () => void): void {
    this.#request.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).pause();
    callback();
  }

  override _read(): void {
    this.#touched = true;
    this.#request.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#request.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    if (this.#touched) this.#request.resume();
    callback(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (!this.push(chunk)) this.#request.pause();
  };

  readonly #onEnd = (): void => {
    this.push(null);
  };

  readonly #onClose = (): void => {
    if (!this.#request.complete) this.destroy(new Error('the client went away within its request'));
  };
}
