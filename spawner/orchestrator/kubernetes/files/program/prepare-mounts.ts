import { PodgateError } from '../../../../../core/errors.ts';
import { createDirectoryFiles } from '../../../process/volumes/directory-files.ts';

/**
 * The init container of a pod with named volumes: `prepare-mounts.ts (DIRECTORY ro|rw SUBPATH)...`. Makes what is to be
 * mounted, never through a link, with access for the group of all pods; what is mounted read-only must be there. The
 * kubelet would make it, too, but for root alone. The last line that it prints becomes the status of the pod.
 */
const words = process.argv.slice(2);
try {
  for (let at = 0; at + 2 < words.length; at += 3) {
    const [directory = '', access = '', subPath = ''] = words.slice(at, at + 3);
    const files = createDirectoryFiles({ claims: new Map([['claim', directory]]) });
    const ref = { kind: 'volume', uid: 'claim', tenant: '', id: '' } as const;
    const { handle } = await files.mounts.open(ref, subPath, { isReadOnly: access === 'ro' });
    await handle.close();
  }
} catch (error) {
  if (!(error instanceof PodgateError)) throw error;
  console.error(error.code === 'orchestrator.unavailable' ? error.message : error.publicMessages.join(' '));
  process.exitCode = 1;
}
