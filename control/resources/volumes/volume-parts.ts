import type { Store } from '../../../core/store.ts';
import type { VolumeFiles } from '../../../core/volume.ts';
import type { ChangeParts } from '../../objects/change.ts';
import type { VolumeRestores } from './restores.ts';
import type { VolumeSchemas } from './schema.ts';

export interface VolumeParts extends Omit<ChangeParts, 'store'> {
  readonly store: Store;
  readonly files: VolumeFiles;
  readonly restores: VolumeRestores;
  readonly newUid: () => string;
  readonly maxSizeMiB: number;
  readonly schemas: VolumeSchemas;
}
