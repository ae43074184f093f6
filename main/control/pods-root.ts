import { accessSync, constants, lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { PodgateError } from '../../core/errors.ts';

export interface PodsRoot {
  /** Workloads and volumes of this installation. */
  readonly root: string;
  /** Programs copied for pods; shared by all installations of this machine under root. */
  readonly runtimeRoot: string;
}

const BASES = ['/var/lib/podgate', '/var/tmp/podgate'] as const;

/**
 * Where pods live. Root runs them under user ids of their own, which must be able to pass through every directory above
 * them: the data directory may lie in a home that is closed to others. Throws PodgateError 'config.invalid' when there is
 * no such place.
 */
export function podsRootOf(options: { dataDir: string; installation: string; asRoot: boolean }): PodsRoot {
  const { dataDir, installation, asRoot } = options;
  if (!asRoot) return { root: join(dataDir, 'pods'), runtimeRoot: join(dataDir, 'runtime') };
  const base = BASES.find(isUsable);
  if (base === undefined) {
    throw new PodgateError('config.invalid', {
      publicMessages: [
        `Pods need a directory that every user can traverse: neither ${BASES.join(' nor ')} is, or can be made, a directory that only root can write to.`,
      ],
    });
  }
  return { root: join(base, installation), runtimeRoot: join(base, 'runtime') };
}

/** Makes it when absent. In /var/tmp anybody may have made it first, or a link to elsewhere: what root does there follows. */
export function isUsable(path: string): boolean {
  try {
    mkdirSync(path, { recursive: true, mode: 0o711 });
    accessSync(path, constants.W_OK);
    const found = lstatSync(path);
    return found.isDirectory() && found.uid === process.geteuid?.() && (found.mode & 0o022) === 0;
  } catch {
    return false;
  }
}
