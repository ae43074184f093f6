import type { UseReason } from '../../core/pod-use.ts';
import type { UsedPod } from './used-pod.ts';

/** Sees both directions of a session, before the other side does. Keeps none of the bytes. */
export interface UseObserver {
  client(bytes: Buffer): void;
  server(bytes: Buffer): void;
}

/** What one session or request contributes to the use of its pod. */
export class SessionUse {
  readonly #pod: UsedPod;
  readonly #reasons = new Set<UseReason>();

  constructor(pod: UsedPod) {
    this.#pod = pod;
  }

  /** The pod is used right now. */
  touch(): void {
    this.#pod.touch();
  }

  /** The pod has let in this user. */
  accepted(user: string): void {
    this.#pod.accepted(user);
  }

  /** Whether the pod is used for this reason from now on. `wasUse` false: it was no use after all. */
  set(reason: UseReason, applies: boolean, wasUse = true): void {
    if (this.#reasons.has(reason) === applies) return;
    if (applies) {
      this.#reasons.add(reason);
      this.#pod.begin(reason);
    } else {
      this.#reasons.delete(reason);
      this.#pod.end(reason, wasUse);
    }
  }

  has(reason: UseReason): boolean {
    return this.#reasons.has(reason);
  }

  /** The session is over. */
  end(): void {
    for (const reason of this.#reasons) this.#pod.end(reason);
    this.#reasons.clear();
  }
}

/** Of a session whose protocol is not known: every byte is use. */
export class TrafficUse implements UseObserver {
  readonly #use: SessionUse;

  constructor(use: SessionUse) {
    this.#use = use;
  }

  client(): void {
    this.#use.touch();
  }

  server(): void {
    this.#use.touch();
  }
}
