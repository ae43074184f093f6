import { join } from 'node:path';

/** Where things lie below the orchestrator's root. */
export interface Paths {
  readonly workloads: string;
  readonly volumes: string;
  readonly staging: string;
  workload(uid: string): string;
  home(uid: string): string;
  config(uid: string): string;
  log(uid: string): string;
  status(uid: string): string;
  environment(uid: string): string;
  volume(uid: string): string;
}

export function pathsBelow(root: string): Paths {
  const workloads = join(root, 'workloads');
  const volumes = join(root, 'volumes');
  return {
    workloads,
    volumes,
    staging: join(root, 'staging'),
    workload: (uid) => join(workloads, uid),
    home: (uid) => join(workloads, uid, 'home'),
    config: (uid) => join(workloads, uid, 'config'),
    log: (uid) => join(workloads, uid, 'log'),
    status: (uid) => join(workloads, uid, 'status'),
    environment: (uid) => join(workloads, uid, 'environment'),
    volume: (uid) => join(volumes, uid),
  };
}

/** Uids become names of directories: nothing else than a plain name may pass. */
export function isPlainName(uid: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(uid);
}
