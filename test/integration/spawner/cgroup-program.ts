import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openCgroups } from '../../../spawner/orchestrator/process/cgroups.ts';
import { silentLog } from '../../support/silent-log.ts';

// Runs where control groups are to be tried (cgroup-v2.test.ts), and prints what it saw as one line of JSON.
const cgroups = openCgroups('trial', true, silentLog);

/** A shell command in the groups of a pod of its own. */
function runIn(uid: string, memLimit: number, command: string) {
  const files = cgroups.make(uid, { cpuLimit: 100, memLimit });
  const groups = files.map((file) => dirname(file));
  const enter = files.map((file) => `echo 0 > ${file}`).join(' && ');
  const { signal, status } = spawnSync('/bin/sh', ['-c', `${enter} && ${command}`]);
  const readIn = (name: string): string => {
    const group = groups.find((each) => existsSync(join(each, name)));
    return group === undefined ? '' : readFileSync(join(group, name), 'utf8').trim();
  };
  return { signal, status, readIn, groups };
}

// Without a line end, tail keeps all of it in memory.
const fat = runIn('fat', 16, 'head -c 67108864 /dev/zero | tail > /dev/null');
const busy = runIn('busy', 64, "exec timeout 1 /bin/sh -c 'while :; do :; done'");
const report = {
  limits: cgroups.limits,
  fat: { isKilled: fat.signal === 'SIGKILL' || fat.status === 137, kills: cgroups.memoryKills('fat') },
  busy: {
    cpuMax: busy.readIn('cpu.max'),
    pidsMax: busy.readIn('pids.max'),
    throttled: Number(/^nr_throttled (\d+)$/m.exec(busy.readIn('cpu.stat'))?.[1] ?? 0),
  },
  own: readFileSync('/proc/self/cgroup', 'utf8').trim(),
  left: 0,
};
cgroups.remove('fat');
cgroups.remove('busy');
cgroups.close();
report.left = [...fat.groups, ...busy.groups].filter((group) => existsSync(group)).length;
process.stdout.write(`${JSON.stringify(report)}\n`);
