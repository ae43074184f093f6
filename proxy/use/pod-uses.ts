import type { Clock } from '../../core/clock.ts';
import type { PodUse } from '../../core/pod-use.ts';
import type { RouteTable } from '../routes/route-table.ts';
import { SessionUse } from './session-use.ts';
import { UsedPod } from './used-pod.ts';

/** Pods whose use is remembered: the one that was used first goes first, unless it is in use. */
const PODS_MAX = 10_000;
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

  /** Of one session or request. */
  session(uid: string): SessionUse {
    return new SessionUse(this.of(uid));
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
