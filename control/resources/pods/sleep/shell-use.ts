import type { Clock } from '../../../../core/clock.ts';
import type { PodUse } from '../../../../core/pod-use.ts';
import type { Shell } from '../../../../core/shell.ts';

/** Pods whose last use is remembered. */
const PODS_MAX = 10_000;

interface Use {
  active: number;
  lastMs: number;
}

/** Commands, terminals and transfers of files that this replica runs in pods: use, as connections are. */
export class ShellUse {
  readonly #clock: Clock;
  /** By uid, that of the last use last. */
  readonly #uses = new Map<string, Use>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(uid: string): PodUse {
    const use = this.#uses.get(uid);
    if (use === undefined) return { lastUsedMs: null, because: {}, isHeld: true };
    return {
      lastUsedMs: use.active > 0 ? this.#clock.now() : use.lastMs,
      because: use.active > 0 ? { commands: use.active } : {},
      isHeld: true,
    };
  }

  /** The same shell, counted. */
  counted(shell: Shell): Shell {
    return {
      exec: (ref, options, signal) => this.#during(ref.uid, () => shell.exec(ref, options, signal)),
      terminal: (ref, options, signal) => this.#during(ref.uid, () => shell.terminal(ref, options, signal)),
    };
  }

  async #during<T>(uid: string, work: () => Promise<T>): Promise<T> {
    const use = this.#uses.get(uid) ?? { active: 0, lastMs: 0 };
    this.#touch(uid, use);
    use.active += 1;
    try {
      return await work();
    } finally {
      use.active -= 1;
      this.#touch(uid, use);
    }
  }

  #touch(uid: string, use: Use): void {
    use.lastMs = this.#clock.now();
    this.#uses.delete(uid);
    this.#uses.set(uid, use);
    if (this.#uses.size <= PODS_MAX) return;
    for (const [oldest, { active }] of this.#uses) {
      if (active > 0) continue;
      this.#uses.delete(oldest);
      return;
    }
  }
}
