import { until } from '../../support/until.ts';
import { recovery } from '../recovery.ts';
import type { Scenario } from '../scenario.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Whole replicas die, or sleep. */
export const replicaFaults: readonly Scenario[] = [
  {
    name: 'replicas-killed',
    summary: 'One replica after the other is killed (SIGKILL to all of it) every 5 s, and started again',
    async run(trial) {
      const { replicas, proxy } = trial.installation;
      const { kills, killEveryMs } = trial.scale;
      const readyMs: number[] = [];
      for (let kill = 0; kill < kills; kill += 1) {
        const began = performance.now();
        const replica = replicas[kill % replicas.length];
        if (replica === undefined) throw new Error('there is no replica');
        trial.excuse(replica.name);
        trial.say(`killing ${replica.name}`);
        await replica.kill();
        await replica.program.start();
        trial.say(`${replica.name} is ready`);
        await until('HAProxy sends it sessions again', async () => (await proxy.serversUp()).includes(replica.name));
        readyMs.push(performance.now() - began);
        await pause(Math.max(0, killEveryMs - (performance.now() - began)));
        if ((kill + 1) % 12 === 0) trial.say(`${kill + 1} of ${kills} killed`);
      }
      const sorted = readyMs.toSorted((a, b) => a - b);
      return {
        kills,
        'ready again after, median (ms)': Math.round(sorted[sorted.length >> 1] ?? Number.NaN),
        'ready again after, most (ms)': Math.round(sorted.at(-1) ?? Number.NaN),
        ...(await recovery(trial)),
      };
    },
  },
  {
    name: 'leader-paused',
    summary: 'The control child of each replica in turn is paused (SIGSTOP) for longer than a lease, and wakes up',
    async run(trial) {
      const { replicas } = trial.installation;
      for (const replica of replicas) {
        await pause(1_000);
        replica.signalControl('SIGSTOP');
        await pause(trial.scale.pauseMs);
        replica.signalControl('SIGCONT');
      }
      return recovery(trial);
    },
  },
];
