import { createHmac, randomBytes } from 'node:crypto';
import type { Route } from '../../../../core/route.ts';

/** A running session that can be cancelled, and the very address its bytes go to. */
export interface CancellableSession {
  /** As it was when the session began; its `uid` says which pod. */
  readonly route: Route;
  readonly address: string;
  readonly port: number;
}

/** More sessions of one pod in one worker are not cancellable: what a pod says here costs no more than this. */
export const CANCEL_KEYS_PER_POD_MAX = 1_000;

/**
 * The live sessions of each cancel key. Pods are not trusted: they say their keys themselves, so that a key belongs to
 * every session that was told it. No pod takes another's place, and each has its own bound.
 */
export class CancelKeys {
  /** Keys are secrets: looked up by a digest that nobody outside can compute, so that no comparison tells of them. */
  readonly #digestKey = randomBytes(32);
  readonly #sessions = new Map<string, Set<CancellableSession>>();
  readonly #perPod = new Map<string, number>();

  /** Returns how to take it back, once; null when the pod has too many already. */
  add(key: Buffer, session: CancellableSession): (() => void) | null {
    const { uid } = session.route;
    const count = this.#perPod.get(uid) ?? 0;
    if (count >= CANCEL_KEYS_PER_POD_MAX) return null;
    this.#perPod.set(uid, count + 1);
    const digest = this.#digest(key);
    const sessions = this.#sessions.get(digest);
    if (sessions === undefined) this.#sessions.set(digest, new Set([session]));
    else sessions.add(session);
    return () => this.#remove(digest, session);
  }

  /** One session of each backend: the same packet twice does nothing that once does not. */
  find(key: Buffer): readonly CancellableSession[] {
    const backends = new Map<string, CancellableSession>();
    for (const session of this.#sessions.get(this.#digest(key)) ?? []) {
      backends.set(`${session.route.uid} ${session.route.host} ${session.address} ${session.port}`, session);
    }
    return [...backends.values()];
  }

  /** For tests: everything that is held. */
  snapshot(): { readonly keys: number; readonly pods: number } {
    return { keys: this.#sessions.size, pods: this.#perPod.size };
  }

  #remove(digest: string, session: CancellableSession): void {
    const sessions = this.#sessions.get(digest);
    if (sessions?.delete(session) !== true) return;
    if (sessions.size === 0) this.#sessions.delete(digest);
    const { uid } = session.route;
    const left = (this.#perPod.get(uid) ?? 0) - 1;
    if (left > 0) this.#perPod.set(uid, left);
    else this.#perPod.delete(uid);
  }

  #digest(key: Buffer): string {
    return createHmac('sha256', this.#digestKey).update(key).digest('base64');
  }
}
