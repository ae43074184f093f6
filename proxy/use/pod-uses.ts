import type { Clock } from '../../core/clock.ts';
import type { PodUse, UseReason } from '../../core/pod-use.ts';
import type { RouteTable } from '../routes/route-table.ts';

/** Pods whose use is remembered: the one that was used first goes first, unless it is in use. */
const PODS_MAX = 10_000;
/** User names of a Postgres that are remembered, the last ones. */
const USERS_MAX = 20;
/** Longer names are cut by the server (NAMEDATALEN). */
const USER_MAX_LENGTH = 63;

/** The use of one pod that may sleep, as this worker sees it. */
export class UsedPod {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #because = new Map<UseReason, number>();
  readonly #users = new Set<string>();
  #lastUsedMs: number | null = null;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** It is used right now. */
  touch(): void {
    this.#lastUsedMs = this.#clock.now();
  }

  /** It is used from now on, until `end` with the same reason. */
  begin(reason: UseReason): void {
    this.#because.set(reason, (this.#because.get(reason) ?? 0) + 1);
  }

  end(reason: UseReason): void {
    const left = (this.#because.get(reason) ?? 0) - 1;
    if (left > 0) this.#because.set(reason, left);
    else this.#because.delete(reason);
    this.touch();
  }

  get isInUse(): boolean {
    return this.#because.size > 0;
  }

  get lastUsedMs(): number | null {
    return this.isInUse ? this.#clock.now() : this.#lastUsedMs;
  }

  get because(): PodUse['because'] {
    return Object.fromEntries(this.#because);
  }

  /** The pod has let in this user of a Postgres. */
  accepted(user: string): void {
    const name = user.slice(0, USER_MAX_LENGTH);
    this.#users.delete(name);
    this.#users.add(name);
    const [first] = this.#users;
    if (this.#users.size > USERS_MAX && first !== undefined) this.#users.delete(first);
  }

  get users(): readonly string[] {
    return [...this.#users];
  }
}

/** The use of pods that may sleep. Nothing is kept of others. */
export class PodUses {
  readonly #table: Pick<RouteTable, 'sleepingRoutesOf'>;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #pods = new Map<string, UsedPod>();
  /** The last use of a pod that is not remembered any more. */
  #forgottenMs: number | null = null;

  constructor(table: Pick<RouteTable, 'sleepingRoutesOf'>, clock: Pick<Clock, 'now'>) {
    this.#table = table;
    this.#clock = clock;
  }

  of(uid: string): UsedPod {
    let pod = this.#pods.get(uid);
    if (pod === undefined) {
      if (this.#pods.size >= PODS_MAX) this.#forgetOne();
      pod = new UsedPod(this.#clock);
      this.#pods.set(uid, pod);
    }
    return pod;
  }

  /** Undefined: no route of this pod says that it may sleep. */
  report(uid: string): PodUse | undefined {
    const routes = this.#table.sleepingRoutesOf(uid);
    if (routes.length === 0) return undefined;
    const isHeld = routes.every(({ backend }) => backend === null);
    const pod = this.#pods.get(uid);
    if (pod === undefined) return { lastUsedMs: this.#forgottenMs, because: {}, isHeld };
    const { lastUsedMs, because, users } = pod;
    return { lastUsedMs, because, isHeld, ...(users.length > 0 && { users }) };
  }

  get size(): number {
    return this.#pods.size;
  }

  #forgetOne(): void {
    for (const [uid, pod] of this.#pods) {
      if (pod.isInUse) continue;
      this.#pods.delete(uid);
      if (pod.lastUsedMs !== null) this.#forgottenMs = Math.max(this.#forgottenMs ?? 0, pod.lastUsedMs);
      return;
    }
  }
}
