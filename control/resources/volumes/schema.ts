import { z } from 'zod';

import { description, filesId, SIZE_LIMIT_DEFAULT_MIB, sizeLimit } from '../../objects/files/fields.ts';

/** `maxSizeMiB`: the greatest size_limit. */
export function volumeSchemas({ maxSizeMiB }: { readonly maxSizeMiB: number }) {
  const NewVolume = z
    .strictObject({
      volume_id: filesId('Name of the volume.'),
      description: description.default(''),
      size_limit: sizeLimit(maxSizeMiB).default(Math.min(SIZE_LIMIT_DEFAULT_MIB, maxSizeMiB)),
    })
    .meta({ examples: [{ volume_id: 'myfiles', description: 'Measurements of May.' }] });
  const UpdateVolume = z
    .strictObject({
      description: description.nullish(),
      size_limit: sizeLimit(maxSizeMiB).nullish(),
    })
    .meta({ examples: [{ description: 'Measurements of May and June.' }] });
  const RestoreVolume = z
    .strictObject({ snapshot_id: filesId('The snapshot whose files the volume gets. You need USER on it.') })
    .meta({ examples: [{ snapshot_id: 'mysnapshot' }] });
  return { NewVolume, UpdateVolume, RestoreVolume };
}

export type VolumeSchemas = ReturnType<typeof volumeSchemas>;

export const VolumeAnswer = z.object({
  volume_id: z.string(),
  description: z.string(),
  size_limit: z.int().describe('MB.'),
  size: z.int().optional().describe('MB in use, rounded up. Absent while it is not known.'),
  status: z.enum(['AVAILABLE', 'RESTORING']),
  message: z.string().describe('Why its last restore has failed; or empty.'),
  creation_ts: z.iso.datetime(),
  update_ts: z.iso.datetime(),
});
