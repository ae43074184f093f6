import { join } from 'node:path';
import { expect, it } from 'vitest';
import { hasUserModeLinux, runOnMachine } from '../../support/user-mode-machine.ts';

const PROGRAM = join(import.meta.dirname, 'cgroup-program.ts');
const MACHINE_MS = 150_000;
const MOUNT = 'mount -t cgroup2 none /sys/fs/cgroup';

const SCRIPT = `
${MOUNT} || exit 1
echo "on a machine"
${process.execPath} ${PROGRAM} || exit 2
echo "in a container"
mkdir /sys/fs/cgroup/container
echo $$ > /sys/fs/cgroup/container/cgroup.procs
unshare --cgroup --mount bash -c 'umount /sys/fs/cgroup && ${MOUNT} && ${process.execPath} ${PROGRAM}' || exit 3
`;

/** What Podgate does with groups of version 2, by a kernel that has no other: the one below the tests may have version 1. */
it.skipIf(!hasUserModeLinux)(
  'limits are enforced with cgroup v2, on a machine and in a container whose own group has processes',
  async () => {
    const { code, output } = await runOnMachine(SCRIPT, MACHINE_MS);
    expect(code, output).toBe(0);
    const reports = output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown> & { busy: { throttled: number } });
    const enforced = {
      limits: ['memory', 'cpu', 'processes'],
      fat: { isKilled: true, kills: 1 },
      busy: { cpuMax: '10000 100000', pidsMax: '4096', throttled: expect.any(Number) as number },
      left: 0,
    };
    expect(reports).toEqual([
      { ...enforced, own: '0::/' },
      { ...enforced, own: '0::/podgate-own' },
    ]);
    for (const { busy } of reports) expect(busy.throttled).toBeGreaterThan(2);
  },
  MACHINE_MS + 10_000,
);
