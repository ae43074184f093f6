import { EXEC_PER_POD_MAX, EXEC_TOTAL_MAX, type Shell } from '../../../core/shell.ts';
import { refuseCommand } from './refuse-command.ts';

/** Refuses what can run in no pod, and bounds how many commands run at a time. */
export function limitShell(exec: Shell['exec']): Shell {
  const running = new Map<string, number>();
  let total = 0;
  return {
    exec: async (ref, options, signal) => {
      const refusal = refuseCommand(options);
      if (refusal !== null) return { kind: 'refused', reason: refusal };
      const inPod = running.get(ref.uid) ?? 0;
      if (inPod >= EXEC_PER_POD_MAX) return { kind: 'busy', reason: busy('in this pod', EXEC_PER_POD_MAX) };
      if (total >= EXEC_TOTAL_MAX) return { kind: 'busy', reason: busy('in all pods', EXEC_TOTAL_MAX) };
      running.set(ref.uid, inPod + 1);
      total += 1;
      try {
        return await exec(ref, options, signal);
      } finally {
        total -= 1;
        const left = (running.get(ref.uid) ?? 1) - 1;
        if (left === 0) running.delete(ref.uid);
        else running.set(ref.uid, left);
      }
    },
  };
}

function busy(where: string, most: number): string {
  return `${most} commands are running ${where}, the most at a time: try again when one has ended.`;
}
