import type { VolumeMount } from '../../../core/pod.ts';
import type { WrittenVolumeMount } from './written-pod.ts';

/** The seed's. */
const DEFAULT_MOUNT_PATH = '/tapis_volume_mount';
/** With a uid before it, the name of a claim stays within 63 characters. */
const OWN_NAME_MAX_LENGTH = 20;
const SHARED_NAME_MAX_LENGTH = 128;
const NAME = /^[a-z][a-z0-9]*$/;
/** A mount over one of these would hide or replace the pod's programs. */
const SYSTEM_PATHS = ['/bin', '/dev', '/etc', '/lib', '/lib64', '/proc', '/sbin', '/sys', '/usr'];

/**
 * The volume mounts of a spec, from either shape that the API takes: by name of the volume (the seed's), or by path (the
 * newer one, keys that start with "/"). What is wrong is added to `problems`, after the name of the entry: pure.
 */
export function volumeMountsOf(
  written: Readonly<Record<string, WrittenVolumeMount | null>>,
  problems: string[],
): readonly VolumeMount[] {
  const mounts: VolumeMount[] = [];
  for (const [key, entry] of Object.entries(written)) {
    // Not mounted: takes away what a template mounts there.
    if (entry === null) continue;
    const where = `volume_mounts.${/^[\w/.-]+$/.test(key) ? key : JSON.stringify(key)}`;
    const mount = key.startsWith('/') ? mountAtPath(key, entry) : mountOfName(key, entry);
    const problem = typeof mount === 'string' ? mount : (mountProblem(mount) ?? overlapProblem(mount, mounts));
    if (problem !== null) problems.push(`${where}: ${problem}`);
    else if (typeof mount !== 'string') mounts.push(mount);
  }
  return mounts;
}

function mountOfName(name: string, entry: WrittenVolumeMount): VolumeMount | string {
  const { type } = entry;
  if (!isBuilt(type)) return laterType(type);
  if ((entry.sourceId ?? null) !== null) return 'source_id is for keys that are a path; here the key is the name';
  return {
    type,
    name,
    mountPath: entry.mountPath ?? DEFAULT_MOUNT_PATH,
    subPath: entry.subPath ?? '',
    readOnly: entry.readOnly ?? type === 'tapissnapshot',
    keyedBy: 'name',
  };
}

function mountAtPath(path: string, entry: WrittenVolumeMount): VolumeMount | string {
  const { type } = entry;
  if (!isBuilt(type)) return laterType(type);
  if (entry.mountPath !== undefined) return 'mount_path is for keys that are a name; here the key is the path';
  if ((entry.sourceId ?? null) === null) return 'needs a source_id: the name of the volume';
  return {
    type,
    name: entry.sourceId ?? '',
    mountPath: path,
    subPath: entry.subPath ?? '',
    readOnly: entry.readOnly ?? type === 'tapissnapshot',
    keyedBy: 'path',
  };
}

function isBuilt(type: WrittenVolumeMount['type']): type is VolumeMount['type'] {
  return type !== 'ephemeral';
}

function laterType(type: string): string {
  return `type ${type} comes in a later release; tapisvolume is a named volume, tapissnapshot a snapshot, pvc a volume of the pod's own`;
}

function mountProblem({ type, name, mountPath, subPath, readOnly }: VolumeMount): string | null {
  const longest = type === 'pvc' ? OWN_NAME_MAX_LENGTH : SHARED_NAME_MAX_LENGTH;
  if (!NAME.test(name) || name.length > longest) {
    return `the name of a volume must start with a lower-case letter, hold only lower-case letters and digits, and have at most ${longest} characters`;
  }
  if (type === 'tapissnapshot' && !readOnly) return 'snapshots are mounted read-only; leave read_only out';
  if (!mountPath.startsWith('/') || !isPlainPath(mountPath.slice(1))) {
    return 'the path must be absolute, without empty parts, "." and "..", ":" and control characters';
  }
  if (SYSTEM_PATHS.some((system) => isWithin(mountPath, system))) return 'programs need what is at this path';
  if (subPath !== '' && !isPlainPath(subPath)) {
    return 'sub_path must be relative, without empty parts, "." and "..", ":" and control characters';
  }
  return null;
}

function isPlainPath(path: string): boolean {
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && /^[^:\p{Cc}]+$/u.test(part));
}

/** One inside the other would depend on the order of mounting. */
function overlapProblem(mount: VolumeMount, others: readonly VolumeMount[]): string | null {
  const other = others.find(
    ({ mountPath }) => isWithin(mount.mountPath, mountPath) || isWithin(mountPath, mount.mountPath),
  );
  return other === undefined ? null : `${mount.mountPath} and ${other.mountPath} are one inside the other`;
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}
