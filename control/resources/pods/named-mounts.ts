import { isDeepStrictEqual } from 'node:util';

import { PodgateError } from '../../../core/errors.ts';
import type { PodRecord, PodSpec, VolumeMount } from '../../../core/pod.ts';
import { isNamedMount, resolveMount } from '../../../core/resolve-mounts.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { requireLevel } from '../../objects/access.ts';
import type { PodParts } from './pod-parts.ts';

/** Mounts as records keep them: one that is written again stays whose it was. */
export function mountsBy(
  writer: string,
  mounts: readonly VolumeMount[],
  present: readonly VolumeMount[],
): readonly VolumeMount[] {
  return mounts.map((mount) => {
    if (mount.type === 'pvc') return mount;
    const former = present.find(({ mountPath }) => mountPath === mount.mountPath);
    const isSame = former !== undefined && isDeepStrictEqual({ ...former, mountedBy: '' }, { ...mount, mountedBy: '' });
    return isSame ? former : { ...mount, mountedBy: writer };
  });
}

/**
 * Throws 'api.invalid' unless `writer` may mount every volume that the spec mounts in their name. A volume that is not
 * there and one without permission read alike: ids of others are not to be found out.
 */
export async function requireMounts(
  { store }: Pick<PodParts, 'store'>,
  { tenant }: Pick<PodRecord, 'tenant'>,
  { volumeMounts }: PodSpec,
  writer: string,
): Promise<void> {
  const problems: string[] = [];
  for (const mount of volumeMounts) {
    if (!isNamedMount(mount) || mount.mountedBy !== writer) continue;
    const resolved = await resolveMount(store, tenant, mount);
    if (typeof resolved === 'string')
      problems.push(`volume_mounts.${mount.keyedBy === 'name' ? mount.name : mount.mountPath}: ${resolved}`);
  }
  if (problems.length > 0) throw new PodgateError('api.invalid', { publicMessages: problems });
}

/** What another has mounted is theirs to take away, or an ADMIN's. Throws 'api.forbidden'. */
export function requireOwnMounts(caller: Caller, record: PodRecord, { volumeMounts }: PodSpec): void {
  for (const mount of record.spec.volumeMounts) {
    if (!isNamedMount(mount) || mount.mountedBy === caller.username) continue;
    if (volumeMounts.some((after) => isDeepStrictEqual(after, mount))) continue;
    const act = `Changing the mount of volume ${mount.name} by ${mount.mountedBy}`;
    requireLevel(caller, record, 'ADMIN', { act, what: `pod ${record.podId}` });
  }
}
