import { BoltUse } from './bolt-use.ts';
import { type SessionUse, TrafficUse, type UseObserver } from './session-use.ts';

const BOLT_MAGIC = Buffer.from([0x60, 0x60, 0xb0, 0x17]);

/** Of a TCP session: Bolt, if its client begins like that, or else all that is said is use. */
export class StreamUse implements UseObserver {
  readonly #use: SessionUse;
  #observer: UseObserver | null = null;

  constructor(use: SessionUse) {
    this.#use = use;
  }

  client(bytes: Buffer): void {
    // A Bolt client sends its handshake in one piece.
    this.#observer ??= bytes.subarray(0, BOLT_MAGIC.length).equals(BOLT_MAGIC)
      ? new BoltUse(this.#use)
      : new TrafficUse(this.#use);
    this.#observer.client(bytes);
  }

  server(bytes: Buffer): void {
    this.#observer ??= new TrafficUse(this.#use);
    this.#observer.server(bytes);
  }
}
