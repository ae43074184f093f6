import { randomBytes } from 'node:crypto';
import { isAborted, pause } from '../../core/abort.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText, PodgateError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Replicas } from '../../core/replicas.ts';
import type { TicketKey } from '../../core/ticket-keys.ts';
import type { Vault } from '../../core/vault.ts';
import { ticketPeriodsAt } from './ticket-periods.ts';

const KEY_BYTES = 48;
/** The clock is looked at, not waited for: it may jump. */
const LOOK_MS = 20_000;

/** Sealed keys by period. */
export type SealedTicketKeys = Readonly<Record<string, string>>;

/** Where this replica keeps the keys for its own next start. */
export interface TicketKeyFile {
  /** Empty when there are none, or what is there cannot be read: new ones are as good. */
  read(): Promise<SealedTicketKeys>;
  write(keys: SealedTicketKeys): Promise<void>;
}

export interface TicketKeysOptions {
  readonly replicas: Pick<Replicas, 'agree' | 'forget'>;
  readonly vault: Vault;
  readonly file: TicketKeyFile;
  readonly clock: Clock;
  readonly log: Logger;
  readonly lookMs?: number;
}

export interface TicketKeys {
  /** The one that seals first; every one opens. Empty before `open`. */
  keys(): readonly TicketKey[];
  /** Returns a function that stops following. */
  follow(changed: () => void): () => void;
  /** Agrees on the first. Throws PodgateError 'store.unavailable' or 'vault.cannot-open'. */
  open(): Promise<void>;
  /** New keys in time, old ones forgotten everywhere, until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/**
 * Random keys, one a period, the same in all replicas: who is first makes one, a period early, and the others take it from
 * the store, where it is sealed. When its tickets are worth nothing any more it is forgotten everywhere, so that nobody
 * can decrypt recordings of earlier TLS 1.2 sessions, whatever else leaks (decision 0021).
 */
export function createTicketKeys(options: TicketKeysOptions): TicketKeys {
  const { replicas, vault, file, clock, log, lookMs = LOOK_MS } = options;
  const followers = new Set<() => void>();
  const opened = new Map<number, TicketKey>();
  let sealed: SealedTicketKeys = {};
  let ordered: readonly TicketKey[] = [];
  /** Every turn forgets once. */
  let forgottenBefore = -Infinity;
  let isOpen = false;

  async function look(): Promise<void> {
    const { now, before, next } = ticketPeriodsAt(clock.now());
    // In this order: what is needed first is there first, when the store is slow.
    for (const period of [now, next, before]) {
      if (!opened.has(period)) opened.set(period, await agreedKey(period));
      order(now);
    }
    // Not before the start: a store that takes nothing is no reason to put that off.
    if (!isOpen || forgottenBefore >= before) return;
    await forgetBefore(before);
    forgottenBefore = before;
  }

  async function agreedKey(period: number): Promise<TicketKey> {
    const own = ownKey(period) ?? vault.seal(randomBytes(KEY_BYTES).toString('base64'), contextOf(period));
    const agreed = await agreedOrKept(period, own);
    const key = vault.open(agreed, contextOf(period));
    if (sealed[period] !== agreed) {
      sealed = { ...sealed, [period]: agreed };
      await file.write(sealed);
    }
    return key;
  }

  async function agreedOrKept(period: number, own: string): Promise<string> {
    try {
      const agreed = await replicas.agree(nameOf(period), own);
      if (opens(agreed, period)) return agreed;
      // Of a keyring that is no more: nothing that anybody could miss.
      await replicas.forget(nameOf(period));
      return await replicas.agree(nameOf(period), own);
    } catch (error) {
      // A suspect store is no reason not to start. The key of this replica alone costs its clients a full handshake
      // elsewhere, for one period.
      if (isOpen || !(error instanceof PodgateError) || error.code !== 'store.suspect') throw error;
      return own;
    }
  }

  /** Kept since an earlier start, if the keyring still opens it. */
  function ownKey(period: number): string | null {
    const own = sealed[period];
    return own !== undefined && opens(own, period) ? own : null;
  }

  function opens(text: string, period: number): boolean {
    try {
      vault.open(text, contextOf(period));
      return true;
    } catch {
      return false;
    }
  }

  function order(now: number): void {
    const known = [...opened.keys()].sort((one, other) => other - one);
    // Without the key of this period (the store has been away for hours) that of the last one that is known.
    const sealing = known.find((period) => period <= now) ?? known[0];
    const periods = [...known.filter((period) => period === sealing), ...known.filter((period) => period !== sealing)];
    const keys = periods.flatMap((period) => opened.get(period) ?? []);
    if (keys.join() === ordered.join()) return;
    ordered = keys;
    for (const changed of followers) changed();
  }

  async function forgetBefore(before: number): Promise<void> {
    const kept = Object.keys(sealed).map(Number);
    // Two that this replica need not have known; others are gone since other turns.
    const old = new Set([...kept, ...opened.keys(), before - 1, before - 2].filter((period) => period < before));
    for (const period of old) {
      opened.delete(period);
      await replicas.forget(nameOf(period));
    }
    order(before + 1);
    if (!kept.some((period) => old.has(period))) return;
    sealed = Object.fromEntries(Object.entries(sealed).filter(([period]) => !old.has(Number(period))));
    await file.write(sealed);
  }

  return {
    keys: () => ordered,
    follow(changed) {
      followers.add(changed);
      return () => void followers.delete(changed);
    },
    async open() {
      sealed = await file.read();
      await look();
      isOpen = true;
    },
    async run(signal) {
      let isComplaining = false;
      while (!signal.aborted) {
        await pause(lookMs, signal);
        try {
          if (!isAborted(signal)) await look();
          isComplaining = false;
        } catch (error) {
          // The keys there are go on: with the next of them hours are left.
          if (!isComplaining) log.warn({ error: errorText(error) }, 'failed to agree on new TLS ticket keys');
          isComplaining = true;
        }
      }
    },
  };
}

function nameOf(period: number): string {
  return `tls-tickets ${period}`;
}

function contextOf(period: number): string {
  return `TLS tickets of period ${period}`;
}
