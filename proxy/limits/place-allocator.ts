import { baseShare, type ToAllocator, type ToWorker } from './place-messages.ts';

/** A worker that does not report its count in this time is assumed to use all places it may take. */
const COUNT_MS = 150;
/** Maximum number of keys counted at a time. For further keys, each worker applies its share of the limit. */
const KEYS_MAX = 10_000;

/** A worker that has been asked for its count. */
interface Asked {
  readonly round: number;
  /** Places granted since, which its reply does not include. */
  granted: number;
  /** Its reply is no longer waited for. */
  isLate: boolean;
}

interface Account {
  /** From the latest request: quotas change with the number of replicas. */
  limit: number;
  /** By worker: places in use, or that it may take without asking again. */
  readonly leases: Map<number, number>;
  readonly asked: Map<number, Asked>;
  askedMs: number;
  /** Workers that wait for one more place, in order. */
  readonly waiting: number[];
  /** Every lease equals what its worker uses, so no unused place is left. */
  isExact: boolean;
}

export interface PlaceAllocatorOptions {
  readonly workers: number;
  readonly send: (worker: number, message: ToWorker) => void;
  readonly nowMs: () => number;
}

/**
 * Counts only the few keys that need it: those of which some worker uses more than half of an equal share. From then on, the
 * key is counted centrally: all workers report how many places they use, and ask before they take more, until each needs
 * less than half of its share. No limit is exceeded and no request is refused while a place is free, whatever the order
 * of messages.
 */
export class PlaceAllocator {
  readonly #options: PlaceAllocatorOptions;
  readonly #accounts = new Map<string, Account>();
  readonly #workers = new Set<number>();
  #rounds = 0;

  constructor(options: PlaceAllocatorOptions) {
    this.#options = options;
  }

  /** Adds a worker that uses no places yet. Call this before it gets its first connection. */
  joined(worker: number): void {
    this.left(worker);
    this.#workers.add(worker);
    for (const [key, account] of this.#accounts) this.#ask(key, account, worker, true);
  }

  /** Frees all its places. */
  left(worker: number): void {
    this.#workers.delete(worker);
    for (const [key, account] of [...this.#accounts]) {
      account.leases.delete(worker);
      account.asked.delete(worker);
      const waiting = account.waiting.filter((other) => other !== worker);
      account.waiting.splice(0, account.waiting.length, ...waiting);
      this.#settle(key, account);
    }
  }

  receive(worker: number, message: ToAllocator): void {
    const { key } = message;
    const account = this.#accounts.get(key);
    if (message.kind === 'ask') {
      this.#asked(worker, message, account);
      return;
    }
    if (account === undefined) return;
    if (message.kind === 'held') {
      const asked = account.asked.get(worker);
      if (asked?.round !== message.round) return;
      account.asked.delete(worker);
      account.leases.set(worker, message.held + asked.granted);
    } else account.leases.set(worker, Math.max(0, (account.leases.get(worker) ?? 0) - message.places));
    this.#settle(key, account);
  }

  /** Call this at intervals. */
  look(): void {
    const lateMs = this.#options.nowMs() - COUNT_MS;
    for (const [key, account] of [...this.#accounts]) {
      if (account.askedMs <= lateMs) {
        const share = baseShare(account.limit, this.#options.workers);
        for (const [worker, asked] of account.asked) {
          if (asked.isLate) continue;
          asked.isLate = true;
          account.leases.set(worker, Math.max(share, account.leases.get(worker) ?? 0));
        }
      }
      this.#settle(key, account);
    }
  }

  get size(): number {
    return this.#accounts.size;
  }

  #asked(
    worker: number,
    { key, limit, held }: Extract<ToAllocator, { kind: 'ask' }>,
    known: Account | undefined,
  ): void {
    let account = known;
    if (account === undefined) {
      if (this.#accounts.size >= KEYS_MAX) {
        const mayTake = held < Math.ceil(limit / this.#options.workers);
        this.#options.send(worker, mayTake ? { kind: 'grant', key, places: 1, isScarce: true } : { kind: 'deny', key });
        this.#options.send(worker, { kind: 'free', key });
        return;
      }
      account = { limit, leases: new Map(), asked: new Map(), askedMs: 0, waiting: [], isExact: false };
      this.#accounts.set(key, account);
      account.leases.set(worker, held);
      this.#count(key, account, worker);
    }
    account.limit = limit;
    account.waiting.push(worker);
    this.#settle(key, account);
  }

  #count(key: string, account: Account, except: number | null): void {
    for (const worker of this.#workers) if (worker !== except) this.#ask(key, account, worker, false);
    account.askedMs = this.#options.nowMs();
    account.isExact = true;
  }

  #ask(key: string, account: Account, worker: number, isLate: boolean): void {
    const round = ++this.#rounds;
    account.asked.set(worker, { round, granted: 0, isLate });
    this.#options.send(worker, { kind: 'count', key, round });
  }

  #settle(key: string, account: Account): void {
    const { leases, asked, waiting, limit } = account;
    if (isAnyoneAwaited(account)) return;
    const { send, workers } = this.#options;
    let leased = 0;
    for (const lease of leases.values()) leased += lease;
    while (waiting.length > 0) {
      if (leased >= limit && !account.isExact) {
        // Some worker may have more than it needs.
        this.#count(key, account, null);
        if (isAnyoneAwaited(account)) return;
        continue;
      }
      const worker = waiting.shift() ?? 0;
      if (leased >= limit) {
        send(worker, { kind: 'deny', key });
        continue;
      }
      // Ever smaller grants, so that few places are unused elsewhere when they become scarce.
      const places = Math.max(1, Math.floor((limit - leased) / (4 * workers)));
      if (places > 1) account.isExact = false;
      leases.set(worker, (leases.get(worker) ?? 0) + places);
      leased += places;
      const late = asked.get(worker);
      if (late !== undefined) late.granted += places;
      send(worker, { kind: 'grant', key, places, isScarce: places === 1 });
    }
    this.#closeWhenFew(key, account);
  }

  /** Equal shares suffice for all workers again, with a margin. */
  #closeWhenFew(key: string, { leases, asked, limit }: Account): void {
    if (asked.size > 0) return;
    const few = baseShare(limit, this.#options.workers) / 2;
    for (const lease of leases.values()) if (lease > few) return;
    this.#accounts.delete(key);
    for (const worker of this.#workers) this.#options.send(worker, { kind: 'free', key });
  }
}

function isAnyoneAwaited({ asked }: Account): boolean {
  for (const { isLate } of asked.values()) if (!isLate) return true;
  return false;
}
