import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kindOfError } from '../../../core/error-code.ts';
import type { Resources } from '../../../core/pod.ts';
import type { Logger } from '../../../core/logger.ts';
import { errorText } from '../../../core/errors.ts';

export type LimitedResource = 'memory' | 'cpu' | 'processes';

/** Processes and threads of one pod. */
export const PROCESSES_MAX = 4_096;
const CPU_PERIOD_US = 100_000;
const CPU_QUOTA_MIN_US = 1_000;
const MIB = 1024 * 1024;
/** Where the processes of a container go that Podgate runs in. */
const OWN_GROUP = 'podgate-own';
/** Processes that start others while they are being moved. */
const MOVES = 5;

/** Where groups of a controller are made, and in which of the two versions of the kernel's interface. */
interface Hierarchy {
  readonly version: 1 | 2;
  readonly controllers: readonly LimitedResource[];
  /** A directory for the groups of this installation alone. */
  readonly base: string;
}

export interface GroupUsage {
  readonly memoryBytes: number | null;
  /** Since the group was made. */
  readonly cpuMs: number | null;
  /** The processes in it. */
  readonly pids: readonly number[] | null;
}

const CONTROLLERS: Readonly<Record<LimitedResource, string>> = { memory: 'memory', cpu: 'cpu', processes: 'pids' };

/** Control groups of pods (cgroups(7)): the limits that the kernel enforces. */
export class Cgroups {
  readonly #hierarchies: readonly Hierarchy[];

  constructor(hierarchies: readonly Hierarchy[]) {
    this.#hierarchies = hierarchies;
  }

  /** The limits that are enforced here. */
  get limits(): readonly LimitedResource[] {
    return this.#hierarchies.flatMap(({ controllers }) => controllers);
  }

  /** Makes the groups of a pod with its limits. Answers the files to which a process writes 0 to join. */
  make(uid: string, { cpuLimit, memLimit }: Pick<Resources, 'cpuLimit' | 'memLimit'>): readonly string[] {
    return this.#hierarchies.map(({ version, controllers, base }) => {
      const group = join(base, uid);
      mkdirSync(group, { recursive: true });
      const set = (file: string, value: string | number): void => writeFileSync(join(group, file), String(value));
      const quotaUs = Math.max(CPU_QUOTA_MIN_US, Math.round((cpuLimit / 1_000) * CPU_PERIOD_US));
      for (const controller of controllers) {
        if (controller === 'processes') set('pids.max', PROCESSES_MAX);
        else if (version === 2 && controller === 'cpu') set('cpu.max', `${quotaUs} ${CPU_PERIOD_US}`);
        else if (version === 2) {
          set('memory.max', memLimit * MIB);
          ifThere(() => set('memory.swap.max', 0));
        } else if (controller === 'cpu') {
          set('cpu.cfs_period_us', CPU_PERIOD_US);
          set('cpu.cfs_quota_us', quotaUs);
        } else {
          // Memory with swap may not be less than memory, whichever of the two is changed first.
          ifThere(() => set('memory.memsw.limit_in_bytes', -1));
          set('memory.limit_in_bytes', memLimit * MIB);
          ifThere(() => set('memory.memsw.limit_in_bytes', memLimit * MIB));
        }
      }
      return join(group, 'cgroup.procs');
    });
  }

  /** The files to which a process writes 0 to join the groups that `make` has made. */
  groupsOf(uid: string): readonly string[] {
    return this.#hierarchies.map(({ base }) => join(base, uid, 'cgroup.procs'));
  }

  /** How many of its processes were killed since it was made because it was out of memory. */
  memoryKills(uid: string): number {
    const memory = this.#hierarchies.find(({ controllers }) => controllers.includes('memory'));
    if (memory === undefined) return 0;
    const file = join(memory.base, uid, memory.version === 2 ? 'memory.events' : 'memory.oom_control');
    return Number(/^oom_kill (\d+)$/m.exec(readText(file))?.[1] ?? 0);
  }

  /** What the kernel counts for its groups: null where it does not. */
  usage(uid: string): GroupUsage {
    const told = this.#hierarchies.map(({ version, controllers, base }) => {
      const read = (file: string): string => readText(join(base, uid, file));
      const procs = read('cgroup.procs');
      return {
        memoryBytes: controllers.includes('memory') ? workingSet(version, read) : null,
        cpuMs: controllers.includes('cpu') ? cpuTimeMs(version, read) : null,
        pids: procs === '' ? null : procs.trimEnd().split('\n').map(Number),
      };
    });
    const first = <K extends keyof GroupUsage>(key: K): GroupUsage[K] =>
      told.find((each) => each[key] !== null)?.[key] ?? null;
    return { memoryBytes: first('memoryBytes'), cpuMs: first('cpuMs'), pids: first('pids') };
  }

  /** Throws while processes are left in them. */
  remove(uid: string): void {
    for (const { base } of this.#hierarchies) removeGroup(join(base, uid));
  }

  /** Removes what earlier runs have left, where nothing is in it any more. */
  removeOthers(known: ReadonlySet<string>): void {
    for (const { base } of this.#hierarchies) {
      for (const { name } of readdirSync(base, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
        if (!known.has(name)) ifThere(() => removeGroup(join(base, name)));
      }
    }
  }

  /** For good: nothing runs any more. */
  close(): void {
    for (const { base } of this.#hierarchies) ifThere(() => rmdirSync(base));
  }
}

/** Tries what this system allows. Without root, or in a container with a read-only hierarchy, that is nothing. */
export function openCgroups(installation: string, asRoot: boolean, log?: Logger): Cgroups {
  if (!asRoot || process.platform !== 'linux') return new Cgroups([]);
  const hierarchies: Hierarchy[] = [];
  for (const { version, names, directory } of findHierarchies(
    readText('/proc/mounts'),
    readText('/proc/self/cgroup'),
  )) {
    const base = join(directory, `podgate-${installation}`);
    const controllers = controllersIn(names);
    try {
      // Of version 2, a group passes on to its children what its parent has passed on to it.
      const passOn = controllers.map((each) => `+${CONTROLLERS[each]}`).join(' ');
      if (version === 2) passOnAtTop(directory, passOn);
      mkdirSync(base, { recursive: true });
      if (version === 2) writeFileSync(join(base, 'cgroup.subtree_control'), passOn);
      hierarchies.push({ version, controllers, base });
    } catch (error) {
      log?.debug({ directory, error: errorText(error) }, 'limits cannot be set on this machine');
    }
  }
  return new Cgroups(hierarchies);
}

/**
 * In a container, the top of the hierarchy is the container's own group. A group with processes in it passes nothing on, so
 * they go one level down, as in containers that run containers. The top of a machine may have processes.
 */
function passOnAtTop(top: string, controllers: string): void {
  for (let moves = 0; ; moves += 1) {
    try {
      writeFileSync(join(top, 'cgroup.subtree_control'), controllers);
      return;
    } catch (error) {
      if (kindOfError(error) !== 'busy' || moves === MOVES) throw error;
    }
    mkdirSync(join(top, OWN_GROUP), { recursive: true });
    for (const pid of readText(join(top, 'cgroup.procs')).trim().split('\n')) {
      // It may have ended meanwhile.
      ifThere(() => writeFileSync(join(top, OWN_GROUP, 'cgroup.procs'), pid));
    }
  }
}

/** As Kubernetes counts it: without files cached in memory that nothing has read for a while. */
function workingSet(version: 1 | 2, read: (file: string) => string): number | null {
  const used = numberOf(read(version === 2 ? 'memory.current' : 'memory.usage_in_bytes'));
  const name = version === 2 ? 'inactive_file' : 'total_inactive_file';
  const cached = new RegExp(`^${name} (\\d+)$`, 'm').exec(read('memory.stat'))?.[1] ?? '';
  return used === null ? null : Math.max(0, used - (numberOf(cached) ?? 0));
}

/** Of version 1, only where cpu and cpuacct are one hierarchy, as most systems mount them. */
function cpuTimeMs(version: 1 | 2, read: (file: string) => string): number | null {
  if (version === 2) {
    const us = numberOf(/^usage_usec (\d+)$/m.exec(read('cpu.stat'))?.[1] ?? '');
    return us === null ? null : us / 1_000;
  }
  const ns = numberOf(read('cpuacct.usage'));
  return ns === null ? null : ns / 1e6;
}

function numberOf(text: string): number | null {
  return /^\d+\n?$/.test(text) ? Number(text) : null;
}

function controllersIn(names: readonly string[]): readonly LimitedResource[] {
  return (Object.keys(CONTROLLERS) as LimitedResource[]).filter((each) => names.includes(CONTROLLERS[each]));
}

/**
 * The places for groups: of version 1 below our own group, whose limits then hold for pods, too; of version 2 at the top,
 * since a group with processes in it cannot pass controllers on to its children.
 */
function findHierarchies(
  mounts: string,
  ownGroups: string,
): readonly { readonly version: 1 | 2; readonly names: readonly string[]; readonly directory: string }[] {
  const found: { version: 1 | 2; names: readonly string[]; directory: string }[] = [];
  for (const line of mounts.split('\n')) {
    const [, directory = '', type, options = ''] = line.split(' ');
    if (type === 'cgroup2') {
      const names = readText(join(directory, 'cgroup.controllers')).trim().split(' ');
      if (controllersIn(names).length > 0) found.push({ version: 2, names, directory });
    } else if (type === 'cgroup') {
      const names = options.split(',');
      if (controllersIn(names).length === 0) continue;
      const own = ownGroups
        .split('\n')
        .map((group) => group.split(':'))
        .find(([, controllers]) => controllers?.split(',').some((each) => names.includes(each)));
      found.push({ version: 1, names, directory: join(directory, own?.[2] ?? '') });
    }
  }
  return found;
}

function removeGroup(group: string): void {
  try {
    rmdirSync(group);
  } catch (error) {
    if (kindOfError(error) !== 'absent') throw error;
  }
}

/** For files that not every kernel has, and groups that are still in use. */
function ifThere(work: () => void): void {
  try {
    work();
  } catch {
    // As it is.
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
