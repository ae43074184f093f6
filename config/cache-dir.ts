import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/**
 * Where programs are kept that Podgate downloads for its pods: `podgate` in the cache directory of this user (XDG Base
 * Directory Specification). Root's home is closed to the users that pods run as, so root's is /var/cache.
 */
export function cacheDirOf(env: NodeJS.ProcessEnv, isRoot: boolean): string {
  const xdg = env['XDG_CACHE_HOME'] ?? '';
  if (isAbsolute(xdg)) return join(xdg, 'podgate');
  return isRoot ? '/var/cache/podgate' : join(homeOf(env), '.cache', 'podgate');
}

export function homeOf(env: NodeJS.ProcessEnv): string {
  const home = env['HOME'] ?? '';
  return isAbsolute(home) ? home : homedir();
}
