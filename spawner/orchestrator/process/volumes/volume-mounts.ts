import type { FileHandle } from 'node:fs/promises';
import type { FilesRef } from '../../../../core/volume.ts';

/** An open directory of a volume. Its holder closes it. */
export interface OpenedSource {
  readonly path: string;
  readonly handle: FileHandle;
  /** Whose members may read and write there; null: it belongs to the user that pods run as. */
  readonly gid: number | null;
}

/** Named volumes and snapshots, as pods mount them and as the data of pods is kept in them. */
export interface VolumeMounts {
  /**
   * The directory at `subPath`, never through a link; unless it is mounted read-only, what is not there is made. Throws
   * PodgateError 'api.invalid' or 'api.not-found'.
   */
  open(ref: FilesRef, subPath: string, how: { readonly isReadOnly: boolean }): Promise<OpenedSource>;
  /** Of all its files. */
  pathOf(ref: FilesRef): string;
  /**
   * Replaces all files by what `fill` makes in a directory, which is empty and ours alone. They appear as a whole. Throws
   * what `fill` throws.
   */
  replace(ref: FilesRef, fill: (directory: string) => Promise<void>): Promise<void>;
  /** `by`, a workload, may write there from now on: its size changes without our doing. */
  attach(ref: FilesRef, by: string): void;
  detach(ref: FilesRef, by: string): void;
}
