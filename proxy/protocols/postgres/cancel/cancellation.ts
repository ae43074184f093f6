import type { Socket } from 'node:net';
import {
  CANCEL_ANSWER_MS,
  type CancelAnswer,
  cancelAnswerOf,
  mergeCancelAnswers,
} from '../../../../core/cancel-answer.ts';
import type { Clock } from '../../../../core/clock.ts';
import { Questions } from '../../../../core/questions.ts';
import type { Route } from '../../../../core/route.ts';
import type { Counters } from '../../../telemetry/counters.ts';
import { introduceCanceller } from '../../../proxy-protocol/introduce-client.ts';
import { isAddressAllowed } from '../../../policy/ip-allow-list.ts';
import type { Observer } from '../../../session/splice.ts';
import type { RouteTable } from '../../../routes/route-table.ts';
import { BackendKeyParser } from './backend-key.ts';
import { CancelKeys, type CancellableSession } from './cancel-keys.ts';
import { GuessLimit } from './guess-limit.ts';
import { PassedThroughSessions } from './passed-through.ts';
import { sendCancel } from './send-cancel.ts';

/** Cancels on their way to one pod at a time: a pod that does not take them holds up no other's. */
const CANCELS_UNDER_WAY_PER_POD_MAX = 128;

export interface CancellationOptions {
  readonly table: RouteTable;
  readonly counters: Counters;
  readonly clock: Clock;
  /** Asks the other workers, which may hold the session; false when there is no way to ask them. */
  readonly ask: (id: number, key: Buffer, address: string) => boolean;
}

/**
 * Every client that cancels has its connection closed after this long, or later. Nearly all cancels of known keys are
 * delivered by then, so that the time says little about a key (measured: docs/decisions/0011).
 */
export const CANCEL_TAKES_MS = 20;

/** The one party that a worker asks. */
const OTHERS = ['others'] as const;

/**
 * CancelRequests of one worker: which sessions can be cancelled, and what comes of a key. Clients take the end of their
 * connection for "it has been signalled; what I send next is safe" (libpq, pgx, asyncpg), so it must not come earlier.
 */
export class Cancellation {
  readonly keys = new CancelKeys();
  readonly #passedThrough = new PassedThroughSessions();
  readonly #asked = new Questions<(typeof OTHERS)[number], CancelAnswer>();
  readonly #options: CancellationOptions;
  readonly #limit: GuessLimit;
  readonly #underWay = new Map<string, number>();

  constructor(options: CancellationOptions) {
    this.#options = options;
    this.#limit = new GuessLimit(options.clock);
  }

  /** Learns the key of a session that begins: looks on until the key is known or cannot come any more. */
  watch(route: Route, client: Socket, backend: Socket): Observer | null {
    const { remoteAddress: address, remotePort: port } = backend;
    if (address === undefined || port === undefined) return null;
    const parser = new BackendKeyParser();
    return (bytes) => {
      const parsed = parser.push(bytes);
      if (parsed.kind === 'match') this.#register(parsed.value, { route, address, port }, client, backend);
      return parsed.kind === 'need-more';
    };
  }

  /** A session whose key is never seen begins. */
  watchPassedThrough(route: Route, client: Socket, address: string): void {
    if (route.protocol === 'postgres' && !client.destroyed) {
      client.once('close', this.#passedThrough.add(address, route.host));
    }
  }

  /**
   * A client of this worker has asked. `done` is called once, after CANCEL_TAKES_MS at the earliest: whatever could be
   * cancelled has been signalled, or has had its time, and the client's connection may be closed.
   */
  request(key: Buffer, address: string, done: () => void): void {
    let isOver = false;
    let isTime = false;
    setTimeout(() => {
      isTime = true;
      if (isOver) done();
    }, CANCEL_TAKES_MS);
    this.#request(key, address, () => {
      isOver = true;
      if (isTime) done();
    });
  }

  /** A client of another worker has asked, which does not know the key. `done` is called once. */
  requestElsewhere(key: Buffer, address: string, done: (answer: CancelAnswer) => void): void {
    const isFound = this.#cancel(key, address, () => done({ isFound: true, passedThrough: [] }));
    if (!isFound) done(this.#notFound(address));
  }

  /** What the others have said to a question of ours. */
  answered(id: number, answer: CancelAnswer): void {
    this.#asked.answered('others', id, answer);
  }

  #request(key: Buffer, address: string, done: () => void): void {
    const { counters, ask } = this.#options;
    if (!this.#limit.mayTry(address)) {
      counters.cancels.slowed++;
      done();
    } else if (!this.#cancel(key, address, done)) {
      if (this.#limit.missed(address)) {
        counters.cancels.unknown++;
        const say = (id: number): boolean => ask(id, key, address);
        void this.#asked.ask({ parties: () => OTHERS, say, timeoutMs: CANCEL_ANSWER_MS }).then((replies) => {
          const answer = cancelAnswerOf(replies);
          if (answer.isFound) done();
          else this.#passOn(key, address, mergeCancelAnswers([answer, this.#notFound(address)]), done);
        });
      } else {
        counters.cancels.slowed++;
        done();
      }
    }
  }

  /**
   * Nobody knows the key. If the address has sessions whose keys are never seen, all of them of one route, it can be no
   * other's; with several, a pod would learn a key of another's session (docs/decisions/0011).
   */
  #passOn(key: Buffer, address: string, { passedThrough }: CancelAnswer, done: () => void): void {
    const [host, another] = passedThrough ?? [];
    const route = host === undefined || another !== undefined ? undefined : this.#options.table.get(host);
    if (route?.tls !== 'passthrough') done();
    else this.#pass(key, address, route, done);
  }

  #notFound(address: string): CancelAnswer {
    return { isFound: false, passedThrough: this.#passedThrough.hostsOf(address) };
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

  /** Is the key known here? Then `done` is called once, when each of its pods has taken the cancel. */
  #cancel(key: Buffer, address: string, done: () => void): boolean {
    const sessions = this.keys.find(key);
    let waitsFor = sessions.length;
    for (const session of sessions) {
      this.#pass(key, address, session.route, () => {
        if (--waitsFor === 0) done();
      });
    }
    return sessions.length > 0;
  }

  /** `sessionRoute` as it was when the session began. */
  #pass(key: Buffer, address: string, sessionRoute: Route, done: () => void): void {
    const { table, counters } = this.#options;
    const { uid, host } = sessionRoute;
    const giveUp = (outcome: 'forbidden' | 'failed'): void => {
      counters.cancels[outcome]++;
      done();
    };
    const present = table.get(host);
    // A session outlives its route; then the list it began with is the last that was said of its pod.
    const route = present?.uid === uid ? present : sessionRoute;
    if (!isAddressAllowed(route, address)) {
      giveUp('forbidden');
      return;
    }
    // The session's own address may be another pod's by now, if its end has gone unnoticed.
    const backend = present?.uid === uid ? present.backend : null;
    const underWay = this.#underWay.get(uid) ?? 0;
    if (underWay >= CANCELS_UNDER_WAY_PER_POD_MAX || backend === null) {
      giveUp('failed');
      return;
    }
    this.#underWay.set(uid, underWay + 1);
    const introduction = introduceCanceller(route, address);
    sendCancel({ backend, key, introduction }, (isDelivered) => {
      counters.cancels[isDelivered ? 'delivered' : 'failed']++;
      done();
      const left = (this.#underWay.get(uid) ?? 0) - 1;
      if (left > 0) this.#underWay.set(uid, left);
      else this.#underWay.delete(uid);
    });
  }
}
