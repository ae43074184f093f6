import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { kindOfError } from '../../../core/error-code.ts';

/** Each is shown by a mount of its own. */
const ENTRIES_MAX = 500;

export type MountPlan =
  | {
      readonly kind: 'planned';
      /** Existing directories below the root in which names have to be made: the pod gets copies of them. */
      readonly expanded: readonly string[];
    }
  | { readonly kind: 'refused'; readonly reason: string };

/**
 * How paths for mounts come about in a root directory of the pod's own, without a change to this machine. `targets` are
 * absolute and plain. What others than the system's administrator can write to is refused: a name there could be
 * exchanged for a link before the mount. `kept`: directories of Podgate, which have to stay where they are.
 */
export async function planMounts(targets: readonly string[], kept: readonly string[]): Promise<MountPlan> {
  const expanded = new Set<string>();
  for (const target of targets) {
    const refused = (why: string): MountPlan => ({
      kind: 'refused',
      reason: `A volume cannot be mounted at ${target}: ${why}.`,
    });
    if (kept.some((path) => isWithin(path, target) || isWithin(target, path))) {
      return refused('Podgate keeps its own files there');
    }
    const parent = await existingParent(target);
    if (parent.kind === 'refused') return refused(parent.why);
    if (parent.path !== null) expanded.add(parent.path);
  }
  return { kind: 'planned', expanded: [...expanded].sort() };
}

type Parent =
  /** Null: the target is there, or is made in the root itself. */
  { readonly kind: 'found'; readonly path: string | null } | { readonly kind: 'refused'; readonly why: string };

async function existingParent(target: string): Promise<Parent> {
  let directory = '/';
  for (const name of target.slice(1).split('/')) {
    const path = join(directory, name);
    const stats = await lstat(path).catch((error: unknown) => {
      if (kindOfError(error) === 'absent') return null;
      throw error;
    });
    if (directory !== '/' && !(await isClosedToOthers(directory))) {
      return { kind: 'refused', why: `others can write to ${directory}` };
    }
    if (stats === null) {
      if (directory === '/') return { kind: 'found', path: null };
      if ((await readdir(directory)).length > ENTRIES_MAX) {
        return { kind: 'refused', why: `${directory} has more than ${ENTRIES_MAX} entries` };
      }
      return { kind: 'found', path: directory };
    }
    if (!stats.isDirectory()) return { kind: 'refused', why: `${path} is not a directory` };
    directory = path;
  }
  return { kind: 'found', path: null };
}

async function isClosedToOthers(directory: string): Promise<boolean> {
  const { mode, uid } = await lstat(directory);
  const own = process.geteuid?.() ?? 0;
  // Without root in a user namespace, root itself is shown as the overflow user.
  const isTrusted = uid === 0 || uid === own || (own !== 0 && uid === 65_534);
  return isTrusted && (mode & 0o022) === 0;
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}
