import { recovery } from '../recovery.ts';
import type { Scenario } from '../scenario.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const JUMP_HOURS = 12;
/** Several passes of the health loop. */
const STAY_MS = 8_000;

/** The wall clock of replicas jumps, ahead and back, each alone and all at once. */
export const clocks: readonly Scenario[] = [
  {
    name: 'clock-jumps',
    summary: 'The wall clocks of one replica, then of all, jump 12 hours ahead, and 12 hours back; no pod is stopped',
    async run(trial) {
      const { replicas } = trial.installation;
      for (const hours of [JUMP_HOURS, -JUMP_HOURS]) {
        for (const some of [replicas.slice(0, 1), replicas]) {
          for (const replica of some) replica.setClock(hours);
          await pause(STAY_MS);
          for (const replica of some) replica.setClock(0);
          await pause(STAY_MS / 2);
        }
      }
      return recovery(trial);
    },
  },
];
