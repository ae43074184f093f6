import { join } from 'node:path';
import type { Image } from './image.ts';
import { startProcess } from './process-container.ts';

/** The user of the image that our Dockerfile makes. */
const PODGATE = 10_001;
const CHECKOUT = join(import.meta.dirname, '..', '..', '..', '..');

/**
 * Podgate's own image: the program at /app is this checkout, `node` the Node that runs this. As ourselves, since the
 * checkout may be closed to other users.
 */
export function podgateImage(): Image {
  const here = (word: string): string =>
    word === 'node' ? process.execPath : word.replace(/^\/app(?=\/|$)/, CHECKOUT);
  return {
    user: PODGATE,
    start: async ({ container, environment, print }) => {
      const { command = ['node', '/app/main.ts'], args = [] } = container;
      return startProcess({
        command: [...command, ...args].map(here),
        environment: { PATH: process.env['PATH'] ?? '', ...environment },
        cwd: CHECKOUT,
        user: null,
        print,
      });
    },
  };
}
