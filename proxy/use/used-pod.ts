import type { Clock } from '../../core/clock.ts';
import type { PodUse, UseReason } from '../../core/pod-use.ts';

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

  /** `wasUse` false: it was no use after all. */
  end(reason: UseReason, wasUse = true): void {
    const left = (this.#because.get(reason) ?? 0) - 1;
    if (left > 0) this.#because.set(reason, left);
    else this.#because.delete(reason);
    if (wasUse) this.touch();
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
