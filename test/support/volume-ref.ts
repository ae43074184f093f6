import type { FilesRef } from '../../core/volume.ts';

/** Of a volume for whose name and tenant the test does not care. */
export function volumeRef(uid: string): FilesRef {
  return { kind: 'volume', uid, tenant: 'dev', id: 'data' };
}
