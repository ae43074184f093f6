import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  /** Z = a zombie. */
  readonly state: string;
  /** Clock ticks since boot: with the pid it names one process for good. */
  readonly startTime: string;
  readonly commandLine: readonly string[];
}

/** The processes of this machine, from /proc (Linux). What ends while it is read is left out. */
export function processTable(): readonly ProcessInfo[] {
  const table: ProcessInfo[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const info = processInfo(Number(name));
    if (info !== null) table.push(info);
  }
  return table;
}

export function processInfo(pid: number): ProcessInfo | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name is in brackets and may hold anything: fields are counted from the last bracket (proc_pid_stat(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      .split('\0')
      .filter((part) => part !== '');
    return { pid, state: fields[0] ?? '', parent: Number(fields[1]), startTime: fields[19] ?? '', commandLine };
  } catch {
    return null;
  }
}

/** Processes whose environment has this variable, with its value. Another user's are visible to root alone. */
export function processesWithVariable(variable: string): readonly { readonly pid: number; readonly value: string }[] {
  const found: { pid: number; value: string }[] = [];
  for (const { pid, state } of processTable()) {
    if (state === 'Z') continue;
    try {
      for (const entry of readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')) {
        if (entry.startsWith(`${variable}=`)) found.push({ pid, value: entry.slice(variable.length + 1) });
      }
    } catch {
      // It ended, or it is not ours to read.
    }
  }
  return found;
}
