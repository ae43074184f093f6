import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import { type Finding, ok, warn } from '../../core/finding.ts';
import { descriptorLimit, descriptorShortage } from '../../main/descriptor-limit.ts';

/** Is RLIMIT_NOFILE enough for the limits of connections? That of the running program, otherwise that of this shell. */
export function examineLimits(config: Config): Finding {
  const running = limitOfRunning(config.dataDir);
  const limit = running ?? descriptorLimit();
  const whose = running === null ? 'here' : 'for the running program';
  const shortage = descriptorShortage(config, limit);
  if (shortage === null)
    return ok('descriptors', `${String(limit)} open files ${whose}: enough for limits.connections.`);
  const { wanted, granted, needed } = shortage;
  return warn(
    'descriptors',
    `${String(limit)} open files ${whose}: each worker accepts ${granted} connections instead of ${wanted}.`,
    `Raise the limit to ${needed} (ulimit -Hn, or LimitNOFILE in systemd), or lower limits.connections.`,
  );
}

/** Null where it does not run, or the system has no /proc. */
function limitOfRunning(dataDir: string): number | null {
  try {
    const pid = readFileSync(join(dataDir, 'supervisor.pid'), 'utf8').trim();
    const soft = /^Max open files\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1];
    return soft === undefined ? null : soft === 'unlimited' ? Infinity : Number(soft);
  } catch {
    return null;
  }
}
