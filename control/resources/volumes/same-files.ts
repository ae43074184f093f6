import { filesRefOf, type VolumeRecord } from '../../../core/volume.ts';
import type { ObjectKind } from '../../objects/object-kind.ts';
import { conflict, requireNotRestoring } from './restore-operation.ts';
import type { VolumeParts } from './volume-parts.ts';

/**
 * After the files of `record` were changed. Throws when the volume has others by now, or soon: it was deleted
 * ('api.not-found'), restored, or is being restored ('api.conflict', whose sentence ends with `next`). Files that the
 * change has made anew would stay for ever.
 */
export async function requireSameFiles(
  { files }: Pick<VolumeParts, 'files'>,
  kind: ObjectKind<VolumeRecord>,
  record: VolumeRecord,
  next: string,
): Promise<void> {
  const ref = filesRefOf(record);
  const now = await kind.get(kind.keyOf(record.tenant, record.volumeId));
  if (now?.value.uid === record.uid && filesRefOf(now.value).uid === ref.uid) {
    requireNotRestoring(now.value);
    return;
  }
  await files.remove(ref);
  if (now?.value.uid !== record.uid) throw kind.notFound(record.volumeId);
  throw conflict(`A snapshot was restored to volume ${record.volumeId} meanwhile: ${next}.`);
}
