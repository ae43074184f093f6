import type { Socket } from 'node:net';
import type { Clock } from '../../../../core/clock.ts';
import type { Route } from '../../../../core/route.ts';
import type { Counters } from '../../../counters.ts';
import { introduceCanceller } from '../../../proxy-protocol/introduce-client.ts';
import { isAddressAllowed } from '../../../policy/ip-allow-list.ts';
import type { Onlooker } from '../../../session/splice.ts';
import type { RouteTable } from '../../../routes/route-table.ts';
import { BackendKeyParser } from './backend-key.ts';
import { CancelKeys, type CancellableSession } from './cancel-keys.ts';
import { GuessLimit } from './guess-limit.ts';
import { sendCancel } from './send-cancel.ts';

/** Cancels on their way to one pod at a time: a pod that does not take them holds up no other's. */
export const CANCELS_UNDER_WAY_PER_POD_MAX = 128;

export interface CancellationOptions {
  readonly table: RouteTable;
  readonly counters: Counters;
  readonly clock: Clock;
  /** Tells the other workers, which may hold the session; lost when there is no way to tell them. */
  readonly askOthers: (key: Buffer, address: string) => void;
}

/**
 * CancelRequests of one worker: which sessions can be cancelled, and what comes of a key. Who asks is never answered, and
 * his connection is closed before anything here begins, so that nothing tells a key that is known from one that is not.
 */
export class Cancellation {
  readonly keys = new CancelKeys();
  readonly #options: CancellationOptions;
  readonly #limit: GuessLimit;
  readonly #underWay = new Map<string, number>();

  constructor(options: CancellationOptions) {
    this.#options = options;
    this.#limit = new GuessLimit(options.clock);
  }

  /** Learns the key of a session that begins: looks on until the key is known or cannot come any more. */
  watch(route: Route, client: Socket, backend: Socket): Onlooker | null {
    const { remoteAddress: address, remotePort: port } = backend;
    if (address === undefined || port === undefined) return null;
    const parser = new BackendKeyParser();
    return (bytes) => {
      const parsed = parser.push(bytes);
      if (parsed.kind === 'match') this.#register(parsed.value, { route, address, port }, client, backend);
      return parsed.kind === 'need-more';
    };
  }

  /** A client of this worker has asked, and its connection is closed. */
  request(key: Buffer, address: string): void {
    const { counters, askOthers } = this.#options;
    if (!this.#limit.mayTry(address)) {
      counters.cancels.slowed++;
    } else if (!this.#cancel(key, address)) {
      if (this.#limit.missed(address)) {
        counters.cancels.unknown++;
        askOthers(key, address);
      } else counters.cancels.slowed++;
    }
  }

  /** A client of another worker has asked, which does not know the key. */
  requestElsewhere(key: Buffer, address: string): void {
    this.#cancel(key, address);
  }

  #register(key: Buffer, session: CancellableSession, client: Socket, backend: Socket): void {
    if (client.destroyed || backend.destroyed) return;
    const remove = this.keys.add(key, session);
    if (remove === null) {
      this.#options.counters.cancels.unregistered++;
      return;
    }
    client.once('close', remove);
    backend.once('close', remove);
  }

  /** Is the key known here? */
  #cancel(key: Buffer, address: string): boolean {
    const sessions = this.keys.find(key);
    for (const session of sessions) this.#pass(key, address, session);
    return sessions.length > 0;
  }

  #pass(key: Buffer, address: string, session: CancellableSession): void {
    const { table, counters } = this.#options;
    const { uid, host } = session.route;
    const present = table.get(host);
    // A session outlives its route; then the list it began with is the last that was said of its pod.
    const route = present?.uid === uid ? present : session.route;
    if (!isAddressAllowed(route, address)) {
      counters.cancels.forbidden++;
      return;
    }
    const underWay = this.#underWay.get(uid) ?? 0;
    if (underWay >= CANCELS_UNDER_WAY_PER_POD_MAX) {
      counters.cancels.failed++;
      return;
    }
    // The session's own address may be another pod's by now, if its end has gone unnoticed.
    const backend = present?.uid === uid ? present.backend : null;
    if (backend === null) {
      counters.cancels.failed++;
      return;
    }
    this.#underWay.set(uid, underWay + 1);
    const introduction = introduceCanceller(route, address);
    sendCancel({ address: backend.address, port: backend.port, key, introduction }, (isDelivered) => {
      counters.cancels[isDelivered ? 'delivered' : 'failed']++;
      const left = (this.#underWay.get(uid) ?? 0) - 1;
      if (left > 0) this.#underWay.set(uid, left);
      else this.#underWay.delete(uid);
    });
  }
}
