import {
  EXEC_PER_POD_MAX,
  EXEC_TOTAL_MAX,
  type Shell,
  TERMINALS_PER_POD_MAX,
  TERMINALS_TOTAL_MAX,
} from '../../../core/shell.ts';
import { refuseCommand, refuseTerminal } from './refuse-command.ts';

/** Refuses what can run in no pod, and bounds how many commands run at a time. */
export function limitShell(shell: Shell): Shell {
  const commands = new Running('commands are running', EXEC_PER_POD_MAX, EXEC_TOTAL_MAX);
  const terminals = new Running('terminals are open', TERMINALS_PER_POD_MAX, TERMINALS_TOTAL_MAX);
  return {
    exec: async (ref, options, signal) => {
      const refusal = refuseCommand(options);
      if (refusal !== null) return { kind: 'refused', reason: refusal };
      return await commands.within(ref.uid, () => shell.exec(ref, options, signal));
    },
    terminal: async (ref, options, signal) => {
      const refusal = refuseTerminal(options);
      if (refusal !== null) return { kind: 'refused', reason: refusal };
      return await terminals.within(ref.uid, () => shell.terminal(ref, options, signal));
    },
  };
}

class Running {
  readonly #what: string;
  readonly #perPod: number;
  readonly #inAll: number;
  readonly #byUid = new Map<string, number>();
  #total = 0;

  constructor(what: string, perPod: number, inAll: number) {
    this.#what = what;
    this.#perPod = perPod;
    this.#inAll = inAll;
  }

  async within<T>(uid: string, run: () => Promise<T>): Promise<T | { readonly kind: 'busy'; readonly reason: string }> {
    const inPod = this.#byUid.get(uid) ?? 0;
    if (inPod >= this.#perPod) return this.#busy('in this pod', this.#perPod);
    if (this.#total >= this.#inAll) return this.#busy('in all pods', this.#inAll);
    this.#byUid.set(uid, inPod + 1);
    this.#total += 1;
    try {
      return await run();
    } finally {
      this.#total -= 1;
      const left = (this.#byUid.get(uid) ?? 1) - 1;
      if (left === 0) this.#byUid.delete(uid);
      else this.#byUid.set(uid, left);
    }
  }

  #busy(where: string, most: number): { readonly kind: 'busy'; readonly reason: string } {
    return {
      kind: 'busy',
      reason: `${most} ${this.#what} ${where}, the most at a time: try again when one has ended.`,
    };
  }
}
