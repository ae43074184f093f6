import { z } from 'zod';

import { parseVolumePath } from '../../../core/volume-path.ts';
import { boundedText, ruled } from '../../http/bounded.ts';
import { description, filesId, SIZE_LIMIT_DEFAULT_MIB, sizeLimit } from '../../objects/files/fields.ts';
import { cronProblem } from './cron.ts';
import { parseRetention, RETENTION_FORM } from './retention.ts';

const PATH_MAX_LENGTH = 4_096;

const cron = z
  .string()
  .check(ruled(cronProblem))
  .describe(
    'When further snapshots of the same path are made, in UTC: minute, hour, day of month, month, day of week. Empty: never.',
  );
const retentionPolicy = z
  .string()
  .check(ruled((text) => (parseRetention(text) === null ? RETENTION_FORM : null)))
  .describe('Which of those that cron has made are kept: keep=N, days=N, or both with a comma. Empty: all.');
const path = (what: string) =>
  boundedText(PATH_MAX_LENGTH)
    .check(
      ruled((text) => {
        const parsed = parseVolumePath(text);
        return parsed.kind === 'refused' ? parsed.problem : null;
      }),
    )
    .describe(what);

export interface SnapshotSchemaOptions {
  /** The greatest size_limit. */
  readonly maxSizeMiB: number;
  readonly podId: z.ZodString;
}

export function snapshotSchemas({ maxSizeMiB, podId }: SnapshotSchemaOptions) {
  const NewSnapshot = z
    .strictObject({
      snapshot_id: filesId('Name of the snapshot.'),
      source_volume_id: filesId('The volume to copy from. You need USER on it.').nullish(),
      source_volume_path: path('A file or directory of the volume, beginning with "/". Needed with a volume.')
        .regex(/^\//, 'must begin with "/"')
        .nullish(),
      source_pod_id: podId
        .nullish()
        .describe(
          'Instead of a volume: the pod whose data is copied, consistently, as for a clone. You need USER on it, by a ' +
            'permission of your own.',
        ),
      destination_path: path('Where in the snapshot. A snapshot of a single file needs one.').default(''),
      description: description.default(''),
      size_limit: sizeLimit(maxSizeMiB).default(Math.min(SIZE_LIMIT_DEFAULT_MIB, maxSizeMiB)),
      cron: cron.default(''),
      retention_policy: retentionPolicy.default(''),
    })
    .meta({
      examples: [
        {
          snapshot_id: 'mysnapshot',
          source_volume_id: 'myfiles',
          source_volume_path: '/',
          cron: '30 3 * * *',
          retention_policy: 'keep=7',
        },
      ],
    });
  const UpdateSnapshot = z
    .strictObject({
      description: description.nullish(),
      size_limit: sizeLimit(maxSizeMiB).nullish(),
      cron: cron.nullish(),
      retention_policy: retentionPolicy.nullish(),
    })
    .meta({ examples: [{ description: 'Every night.', retention_policy: 'keep=14,days=30' }] });
  return { NewSnapshot, UpdateSnapshot };
}

export type SnapshotSchemas = ReturnType<typeof snapshotSchemas>;

export const SnapshotAnswer = z.object({
  snapshot_id: z.string(),
  source_volume_id: z.string(),
  source_volume_path: z.string(),
  source_pod_id: z.string().describe('The pod whose data it is a copy of; empty: it is of a volume.'),
  destination_path: z.string(),
  description: z.string(),
  size_limit: z.int().describe('MB.'),
  cron: z.string(),
  retention_policy: z.string(),
  size: z.int().optional().describe('MB in use, rounded up. Absent while it is not known.'),
  status: z.enum(['CREATING', 'AVAILABLE', 'ERROR']),
  message: z
    .string()
    .describe('What went wrong with its copy, or what that waits for, or what went wrong with its schedule; or empty.'),
  scheduled_by: z.string().describe('The snapshot whose cron has made this one; or empty.'),
  creation_ts: z.iso.datetime(),
  update_ts: z.iso.datetime(),
});
