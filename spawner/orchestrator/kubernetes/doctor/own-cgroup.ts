import { existsSync } from 'node:fs';

/** Version of the control groups of this machine; null = none are seen. */
export function ownCgroupVersion(): 1 | 2 | null {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) return 2;
  return existsSync('/sys/fs/cgroup/memory') ? 1 : null;
}
