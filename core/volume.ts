import type { PermissionLevel } from './pod.ts';

/** What volumes and snapshots have in common: a directory of files that users own and share. */
interface FilesRecord {
  readonly uid: string;
  readonly tenant: string;
  readonly createdBy: string;
  /** New at every change that its user makes. */
  readonly generation: number;
  readonly description: string;
  /** MiB. */
  readonly sizeLimit: number;
  /** The greatest that it has had, once it was lowered: files, uploads under way and mounts may hold that much. */
  readonly greatestSizeLimit?: number;
  readonly permissions: Readonly<Record<string, PermissionLevel>>;
  /** Not null: its files are being removed; the record goes last. */
  readonly deleting: object | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** A named volume. Its directory, or its claim in a cluster, is made when it is first used. */
export interface VolumeRecord extends FilesRecord {
  readonly volumeId: string;
  /** Of its files, once a snapshot has been restored: they are another directory or claim then. Else they have its uid. */
  readonly filesUid?: string;
  /** Not null: its files are being replaced by those of a snapshot. Nothing writes to it meanwhile. */
  readonly restoring?: Restoration | null;
  /** A sentence on why its last restore has failed, or ''. */
  readonly message?: string;
}

/**
 * The copy is made beside the files, under a uid of its own. Once the record has that as its `filesUid`, what is left to be
 * done is to remove the former files.
 */
export interface Restoration {
  readonly snapshotId: string;
  readonly snapshotUid: string;
  readonly copyUid: string;
  readonly formerUid: string;
}

/** CREATING: its files are being copied. ERROR: they could not be, see `message`. */
export type SnapshotStatus = 'CREATING' | 'AVAILABLE' | 'ERROR';

/** The pod whose data a snapshot is a copy of. */
export interface SnapshotPod {
  readonly podId: string;
  readonly uid: string;
  readonly template: string;
  /** Of its credentials: the data refers to it. */
  readonly username: string;
}

/** A copy of a path of a volume, or of the data of a pod. */
export interface SnapshotRecord extends FilesRecord {
  readonly snapshotId: string;
  /** Absent: it is of a volume. Else what is said of a volume is ''. Only clones read its files. */
  readonly sourcePod?: SnapshotPod;
  /** Of a pod's, once it is AVAILABLE, wall clock ms: it has nothing that was committed later. */
  readonly takenAtMs?: number;
  readonly sourceVolumeId: string;
  /** Another volume of the same id is none of its source. */
  readonly sourceVolumeUid: string;
  /** Absolute, within the volume. */
  readonly sourceVolumePath: string;
  /** Where in the snapshot; '' = its root. */
  readonly destinationPath: string;
  /** When further snapshots are made like this one, in UTC; '' = never. */
  readonly cron: string;
  /** Which of those are kept, as written; '' = all. */
  readonly retentionPolicy: string;
  /** The snapshot whose `cron` has made this one; null: a user has. */
  readonly scheduledBy: string | null;
  /** Wall clock ms: times of `cron` up to this one have been served. */
  readonly servedUntilMs: number;
  readonly status: SnapshotStatus;
  /** A sentence on what went wrong with its copy or its schedule, or ''. */
  readonly message: string;
}

/** Which files: a directory belongs to a uid, never to a name. */
export interface FilesRef {
  readonly kind: 'volume' | 'snapshot';
  readonly uid: string;
  /** Whose they are, for messages and operators. */
  readonly tenant: string;
  readonly id: string;
}

export function filesRefOf(record: VolumeRecord | SnapshotRecord): FilesRef {
  const { uid, tenant } = record;
  return 'volumeId' in record
    ? { kind: 'volume', uid: record.filesUid ?? uid, tenant, id: record.volumeId }
    : { kind: 'snapshot', uid, tenant, id: record.snapshotId };
}

/** The restore that is under way; null: none is. */
export function restorationOf(record: VolumeRecord | SnapshotRecord): Restoration | null {
  return 'volumeId' in record ? (record.restoring ?? null) : null;
}

/** All that a deletion removes: of a volume that is being restored, its former files and the copy. */
export function allFilesOf(record: VolumeRecord | SnapshotRecord): readonly FilesRef[] {
  const own = filesRefOf(record);
  const restoring = restorationOf(record);
  const uids = new Set([own.uid, ...(restoring === null ? [] : [restoring.copyUid, restoring.formerUid])]);
  return [...uids].map((uid) => ({ ...own, uid }));
}

/** Files that a pod mounts, as decided at its start: its record has names alone. */
export interface MountedFiles {
  readonly ref: FilesRef;
  /** For messages. */
  readonly name: string;
  /** Absolute and plain. */
  readonly mountPath: string;
  /** Directory within the files, relative and plain; '' = all of it. */
  readonly subPath: string;
  readonly isReadOnly: boolean;
  readonly sizeLimitMiB: number;
}

export type FileType = 'file' | 'dir' | 'symbolic_link' | 'other';

export interface FileEntry {
  readonly name: string;
  readonly type: FileType;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** Permission bits. */
  readonly mode: number;
}

/** An open regular file. The caller closes it. */
export interface OpenedFile {
  readonly kind: 'file';
  readonly name: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /**
   * Another one after every change of the bytes: up to 64 of [0-9a-z-]. Null: it has changed within the last second, or has a
   * time of change in the future, so that another change could go unnoticed.
   */
  readonly changeTag: string | null;
  /** The bytes from `start` (included) to `end` (excluded), once. */
  read(start: number, end: number): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** A file below a directory; `path` is relative to that, with slashes. Directories have no bytes. */
export interface WalkedEntry {
  readonly path: string;
  readonly modifiedMs: number;
  /** Permission bits. */
  readonly mode: number;
  /** Null: a directory. Taken before the next entry is asked for. */
  readonly bytes: AsyncIterable<Uint8Array> | null;
}

export interface OpenedDirectory {
  readonly kind: 'directory';
  readonly name: string;
  /** Everything below it, but links and devices. Throws 'api.invalid' when there are more than `most`. */
  walk(most: number): AsyncIterable<WalkedEntry>;
  close(): Promise<void>;
}

export interface FilesUsage {
  readonly bytes: number;
  readonly files: number;
}

/**
 * The files of volumes and snapshots.
 *
 * Laws: paths are relative to the root of their files, with `/` between names; whatever they contain, and whatever links
 * the files contain, no call reads or writes anything outside. Links are never followed; devices, sockets and pipes are
 * never opened. A write is there as a whole or not at all. All throw PodgateError: 'api.invalid' for a path that cannot
 * be, 'api.not-found' for one that is not there, 'api.too-large' beyond a limit, 'orchestrator.unavailable' when the disk
 * fails.
 */
export interface VolumeFiles {
  /** One level of a directory. */
  list(ref: FilesRef, path: string): AsyncIterable<FileEntry>;
  open(ref: FilesRef, path: string): Promise<OpenedFile | OpenedDirectory>;
  /** Makes the directories above, too; replaces a file of that name. */
  write(
    ref: FilesRef,
    path: string,
    source: AsyncIterable<Uint8Array>,
    limits: { readonly sizeLimitMiB: number },
  ): Promise<void>;
  /** One file, link, device or empty directory; what a link leads to stays. A directory that is not empty is refused. */
  removeFile(ref: FilesRef, path: string): Promise<void>;
  /** Replaces everything in `to` by a copy, which appears as a whole. May be interrupted and repeated. */
  copy(
    from: { readonly ref: FilesRef; readonly path: string },
    to: { readonly ref: FilesRef; readonly path: string; readonly sizeLimitMiB: number },
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Makes room for a `size_limit` that was raised. `isTrial`: only whether there could be. Throws PodgateError
   * 'api.conflict' with the reason where the storage cannot grow. Absent: there is always as much room as the disk has.
   */
  grow?(ref: FilesRef, sizeLimitMiB: number, options: { readonly isTrial: boolean }): Promise<void>;
  /** Null: it is not known, and to find out would take long. */
  usage(ref: FilesRef): Promise<FilesUsage | null>;
  /** Idempotent. */
  remove(ref: FilesRef): Promise<void>;
}
