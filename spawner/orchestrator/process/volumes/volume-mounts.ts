import type { FileHandle } from 'node:fs/promises';
import type { FilesRef } from '../../../../core/volume.ts';

/** An open directory of a volume. Its holder closes it. */
export interface OpenedSource {
  readonly path: string;
  readonly handle: FileHandle;
  /** Whose members may read and write there; null: it belongs to the user that pods run as. */
  readonly gid: number | null;
}

/** Named volumes, as pods mount them. */
export interface VolumeMounts {
  /**
   * The directory at `subPath`, never through a link; unless it is mounted read-only, what is not there is made. Throws
   * PodgateError 'api.invalid' or 'api.not-found'.
   */
  open(ref: FilesRef, subPath: string, how: { readonly isReadOnly: boolean }): Promise<OpenedSource>;
  /** Of all its files. */
  pathOf(ref: FilesRef): string;
  /** `by`, a workload, may write there from now on: its size changes without our doing. */
  attach(ref: FilesRef, by: string): void;
  detach(ref: FilesRef, by: string): void;
}
