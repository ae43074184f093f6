import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DataSnapshotRequest } from '../../../../core/data-snapshots.ts';
import { flushToDisk } from '../runtime-files.ts';
import type { VolumeMounts } from '../volumes/volume-mounts.ts';
import type { DataCopier } from './clone-directory.ts';
import type { DataSources } from './data-sources.ts';
import { withSource } from './with-source.ts';

const MIB = 1024 * 1024;

export interface SnapshotDataParts {
  readonly sources: DataSources;
  readonly files: Pick<VolumeMounts, 'replace'>;
  readonly copier: DataCopier;
}

/** Copies the data of a pod into the files of a snapshot: see DataSnapshots.take. The copy is ours, closed to others. */
export async function snapshotData(
  { sources, files, copier }: SnapshotDataParts,
  { pod, username, to, sizeLimitMiB }: DataSnapshotRequest,
  signal: AbortSignal,
): Promise<void> {
  const say = (): void => undefined;
  const source = {
    ...{ name: `pod ${pod.podId}`, say },
    open: (opening: AbortSignal) => sources.open({ pod, refusal: null }, say, opening),
  };
  await withSource(source, signal, async (opened, both) => {
    const own = { bytes: sizeLimitMiB * MIB, of: 'size_limit' };
    const limit = own.bytes <= opened.limit.bytes ? own : opened.limit;
    await files.replace(to, async (directory) => {
      const made = join(directory, copier.name);
      await mkdir(made, { mode: 0o700 });
      await copier.copy(join(opened.volume, copier.name), made, { opened: { ...opened, limit }, username }, both);
      await flushToDisk(made);
      both.throwIfAborted();
    });
  });
}
