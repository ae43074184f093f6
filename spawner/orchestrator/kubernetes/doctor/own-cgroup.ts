import { existsSync, readFileSync } from 'node:fs';
import { CGROUP_CONTROLLERS_FILE } from './probe-script.ts';

/** Control groups as seen from inside one. */
export interface SeenCgroup {
  readonly version: number;
  /** Of version 2, those that are enabled for it; else empty. */
  readonly controllers: readonly string[];
}

/** Of this process; null = none are seen. */
export function ownCgroup(): SeenCgroup | null {
  if (existsSync(CGROUP_CONTROLLERS_FILE)) {
    return { version: 2, controllers: readFileSync(CGROUP_CONTROLLERS_FILE, 'utf8').trim().split(' ') };
  }
  return existsSync('/sys/fs/cgroup/memory') ? { version: 1, controllers: [] } : null;
}
