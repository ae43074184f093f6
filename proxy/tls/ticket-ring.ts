import { randomBytes } from 'node:crypto';
import type { TicketKey } from '../../core/ticket-keys.ts';

const NAME_BYTES = 16;
const KEY_BYTES = 48;

/** The parts of a key. Its name is sent unencrypted at the start of each ticket sealed with it (RFC 5077 4). */
export interface SealingKey {
  readonly name: Buffer;
  readonly hmac: Buffer;
  readonly aes: Buffer;
}

/** Session ticket keys: the first one encrypts, all of them decrypt. */
export class TicketRing {
  #keys: ReadonlyMap<string, SealingKey>;
  #sealing: SealingKey;

  /** Starts with a random key of its own, until it receives the shared ones. */
  constructor() {
    this.#sealing = split(randomBytes(KEY_BYTES));
    this.#keys = new Map([[idOf(this.#sealing.name), this.#sealing]]);
  }

  /** The first key encrypts. Ignores invalid keys; if no valid one is given, nothing changes. */
  replace(keys: readonly TicketKey[]): void {
    const good = keys.map((key) => Buffer.from(key, 'base64')).filter(({ length }) => length === KEY_BYTES);
    const [sealing, ...others] = good.map(split);
    if (sealing === undefined) return;
    this.#sealing = sealing;
    this.#keys = new Map([sealing, ...others].map((key) => [idOf(key.name), key]));
  }

  get sealing(): SealingKey {
    return this.#sealing;
  }

  find(name: Buffer): SealingKey | undefined {
    return this.#keys.get(idOf(name));
  }
}

function split(bytes: Buffer): SealingKey {
  return { name: bytes.subarray(0, 16), hmac: bytes.subarray(16, 32), aes: bytes.subarray(32, 48) };
}

function idOf(name: Buffer): string {
  return name.toString('latin1', 0, NAME_BYTES);
}
