import { PodgateError } from '../../../../core/errors.ts';
import type { MountedFiles } from '../../../../core/volume.ts';
import { planMounts } from '../mount-plan.ts';
import { MOUNT_FD, type PodMounts } from '../mount-script.ts';
import type { OpenedSource, VolumeMounts } from './volume-mounts.ts';

/** The named volumes of a pod, open for a start of its program. Their holder closes them. */
export interface OpenedMounts extends PodMounts {
  readonly fds: readonly number[];
  readonly groups: readonly number[];
  close(): Promise<void>;
}

/** Throws PodgateError 'api.invalid' or 'api.not-found' with a sentence for the user. */
export async function openMounts(
  volumes: VolumeMounts,
  mounts: readonly MountedFiles[],
  { home, kept }: { readonly home: string; readonly kept: readonly string[] },
): Promise<OpenedMounts> {
  const plan = await planMounts(
    mounts.map(({ mountPath }) => mountPath),
    kept,
  );
  if (plan.kind === 'refused') throw new PodgateError('api.invalid', { publicMessages: [plan.reason] });
  const opened: OpenedSource[] = [];
  const close = async (): Promise<void> => {
    for (const { handle } of opened) await handle.close();
  };
  try {
    for (const { ref, subPath, isReadOnly } of mounts) opened.push(await volumes.open(ref, subPath, { isReadOnly }));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    home,
    expanded: plan.expanded,
    sources: opened.map(({ path }, index) => ({
      path,
      fd: MOUNT_FD + index,
      target: mounts[index]?.mountPath ?? '',
      isReadOnly: mounts[index]?.isReadOnly ?? true,
    })),
    fds: opened.map(({ handle }) => handle.fd),
    groups: [...new Set(opened.flatMap(({ gid }) => gid ?? []))],
    close,
  };
}
