import { accessSync, constants, mkdirSync } from 'node:fs';
import { join } from 'node:path';

export interface PodsRoot {
  /** Workloads and volumes of this installation. */
  readonly root: string;
  /** Programs copied for pods; shared by all installations of this machine under root. */
  readonly runtimeRoot: string;
}

/**
 * Where pods live. Root runs them under user ids of their own, which must be able to pass through every directory above
 * them: the data directory may lie in a home that is closed to others.
 */
export function podsRootOf(options: { dataDir: string; installation: string; asRoot: boolean }): PodsRoot {
  const { dataDir, installation, asRoot } = options;
  if (!asRoot) return { root: join(dataDir, 'pods'), runtimeRoot: join(dataDir, 'runtime') };
  const base = ['/var/lib/podgate', '/var/tmp/podgate'].find(isUsable) ?? '/var/tmp/podgate';
  return { root: join(base, installation), runtimeRoot: join(base, 'runtime') };
}

function isUsable(path: string): boolean {
  try {
    mkdirSync(path, { recursive: true, mode: 0o711 });
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
