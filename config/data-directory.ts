import { resolve } from 'node:path';

/** Absolute path of the data directory that the environment names, seen from `cwd`. */
export function dataDirectoryOf(env: { readonly PODGATE_DATA_DIR?: string | undefined }, cwd: string): string {
  return resolve(cwd, isDataDirectoryNamed(env) ? (env.PODGATE_DATA_DIR ?? '') : '.podgate');
}

/** An empty variable is an unset one. */
export function isDataDirectoryNamed({ PODGATE_DATA_DIR: name }: { readonly PODGATE_DATA_DIR?: string | undefined }) {
  return name !== undefined && name !== '';
}
