import { readFileSync } from 'node:fs';

export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** Somebody without any rights, who is in /etc/passwd: when we are root, another user of this machine; else ourselves. */
export function ordinaryUser(): User {
  const own = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  if (own.uid !== 0) return own;
  const entry = /^daemon:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'));
  if (entry === null) throw new Error('/etc/passwd has no user named daemon');
  return { uid: Number(entry[1]), gid: Number(entry[2]) };
}
