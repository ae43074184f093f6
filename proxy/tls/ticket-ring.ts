import { randomBytes } from 'node:crypto';
import type { TicketKey } from '../../core/ticket-keys.ts';

const NAME_BYTES = 16;
const KEY_BYTES = 48;

/** The parts of a key. Its name stands in the clear at the start of each ticket that it seals (RFC 5077 4). */
export interface SealingKey {
  readonly name: Buffer;
  readonly hmac: Buffer;
  readonly aes: Buffer;
}

/** The keys of session tickets: one seals, all of them open. */
export class TicketRing {
  #keys: ReadonlyMap<string, SealingKey>;
  #sealing: SealingKey;

  /** With a random key of this process's own, until it gets others. */
  constructor() {
    this.#sealing = split(randomBytes(KEY_BYTES));
    this.#keys = new Map([[idOf(this.#sealing.name), this.#sealing]]);
  }

  /** The first seals. Ignores what is not a key; without any, nothing changes. */
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
