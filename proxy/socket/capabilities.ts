import { readFileSync } from 'node:fs';

/** linux/capability.h */
const CAP_SYS_ADMIN = 21n;

/** Does this process have CAP_SYS_ADMIN in its user namespace (capabilities(7))? */
export function hasSysAdmin(): boolean {
  if (process.platform !== 'linux') return false;
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
}
