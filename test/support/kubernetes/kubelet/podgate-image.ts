import { join } from 'node:path';
import type { Image, Mount } from './image.ts';
import { startProcess } from './process-container.ts';

/** The user of the image that our Dockerfile makes. */
const PODGATE = 10_001;
const CHECKOUT = join(import.meta.dirname, '..', '..', '..', '..');

/**
 * Podgate's own image: the program at /app is this checkout, `node` the Node that runs this. As ourselves, since the
 * checkout may be closed to other users.
 */
export function podgateImage(): Image {
  const here = (word: string, mounts: readonly Mount[]): string => {
    if (word === 'node') return process.execPath;
    const program = word.replace(/^\/app(?=\/|$)/, CHECKOUT);
    // Such as UID=/volumes/UID: there are no mounts here.
    return mounts.reduce((text, { mountPath, directory }) => text.replaceAll(mountPath, directory), program);
  };
  return {
    user: PODGATE,
    start: async ({ container, environment, mounts, print }) => {
      const { command = ['node', '/app/main.ts'], args = [] } = container;
      const all = (words: readonly string[]) => words.map((word) => here(word, mounts));
      return startProcess({
        command: all([...command, ...args]),
        execCommand: all,
        environment: { PATH: process.env['PATH'] ?? '', ...environment },
        cwd: CHECKOUT,
        user: null,
        print,
      });
    },
  };
}
