import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

/**
 * Time since this machine started, the same in every process and moved by no change of the wall clock: the only clock by
 * which a control child can tell the age of a workload that an earlier one started.
 */
export interface BootClock {
  /** Another one after every start of the machine; '' where the system tells none. */
  readonly bootId: string;
  nowMs(): number;
}

export function createBootClock(): BootClock {
  let bootId = '';
  try {
    bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    // Not Linux: a workload of an earlier boot is still known by its instance.
  }
  return { bootId, nowMs: () => Math.round(uptime() * 1000) };
}
