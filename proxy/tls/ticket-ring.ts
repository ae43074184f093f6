import { randomBytes } from 'node:crypto';
import type { TicketKey } from '../../core/ticket-keys.ts';

const NAME_BYTES = 16;
const KEY_BYTES = 48;

/** A key as servers take it, under the name that its tickets bear. */
export interface NamedTicketKey {
  readonly name: string;
  readonly bytes: Buffer;
}

/**
 * The keys of session tickets: one seals, several open. A TLS server of Node has room for a single key; but the name of
 * the key stands in the clear in the ticket, so that a ClientHello tells which server can resume its session.
 */
export class TicketRing {
  #keys: ReadonlyMap<string, NamedTicketKey>;
  #sealing: NamedTicketKey;

  /** With a random key of this process's own, until it is given others. */
  constructor() {
    this.#sealing = named(randomBytes(KEY_BYTES));
    this.#keys = new Map([[this.#sealing.name, this.#sealing]]);
  }

  /** The first seals. What is no key is passed over; without any, all stays as it was. */
  replace(keys: readonly TicketKey[]): void {
    const good = keys.map((key) => Buffer.from(key, 'base64')).filter(({ length }) => length === KEY_BYTES);
    const [sealing, ...others] = good.map(named);
    if (sealing === undefined) return;
    this.#sealing = sealing;
    this.#keys = new Map([sealing, ...others].map((key) => [key.name, key]));
  }

  /** The key that opens a ticket of this name, or else the one that seals. */
  keyFor(ticketKeyName: string | null): NamedTicketKey {
    return (ticketKeyName === null ? undefined : this.#keys.get(ticketKeyName)) ?? this.#sealing;
  }

  has(name: string): boolean {
    return this.#keys.has(name);
  }
}

function named(bytes: Buffer): NamedTicketKey {
  return { bytes, name: bytes.toString('latin1', 0, NAME_BYTES) };
}
