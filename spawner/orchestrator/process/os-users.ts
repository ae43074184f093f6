import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';

export interface OsUser {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Above what useradd, rootless containers (/etc/subuid) and systemd (systemd.io/UIDS-GIDS) give away, below 2^31. A
 * random one of so many is nobody else's, not even another Podgate's of this machine.
 */
const PREFERRED = { first: 1_880_000_000, last: 2_147_000_000 };
/** In a container with few users mapped: the upper part of what there is. */
const LOWEST = 20_000;

/** Which user ids may be taken, from /proc/self/uid_map (user_namespaces(7)); null when there are none. */
export function userRange(uidMap: string): { readonly first: number; readonly last: number } | null {
  let best: { first: number; last: number } | null = null;
  for (const line of uidMap.split('\n')) {
    const [inside, , count] = line.trim().split(/\s+/).map(Number);
    if (inside === undefined || count === undefined || !Number.isInteger(inside) || !Number.isInteger(count)) continue;
    const last = inside + count - 1;
    if (inside <= PREFERRED.first && last >= PREFERRED.last) return PREFERRED;
    const first = Math.max(inside, LOWEST);
    if (last - first > (best === null ? 1_000 : best.last - best.first)) best = { first, last };
  }
  return best;
}

/** A user id that no workload, volume or process has. */
export async function allocateOsUser(isTaken: (uid: number) => boolean): Promise<OsUser> {
  const range = userRange(await readFile('/proc/self/uid_map', 'utf8').catch(() => '0 0 4294967295'));
  if (range === null) throw new Error('this container maps too few user IDs to give each pod its own');
  for (let tries = 0; tries < 1_000; tries += 1) {
    const uid = randomInt(range.first, range.last);
    // The group has the same number: pods share no group either.
    if (!isTaken(uid)) return { uid, gid: uid };
  }
  throw new Error('no free user ID');
}

/** The unprivileged user of the system, for the few programs that insist on a name in /etc/passwd. */
export async function findNobody(): Promise<OsUser> {
  const passwd = await readFile('/etc/passwd', 'utf8');
  const match = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd);
  if (match === null) throw new Error('/etc/passwd has no user named nobody');
  return { uid: Number(match[1]), gid: Number(match[2]) };
}
