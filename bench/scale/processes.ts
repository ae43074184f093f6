import { readFileSync } from 'node:fs';
import type { Program } from '../../test/support/program.ts';
import { run } from '../../test/support/run.ts';
import { cpuSeconds } from '../measure.ts';

/** A process that is measured, with the name it has in the table. */
export interface Measured {
  readonly name: string;
  readonly pid: number;
}

export function processesOf(name: string, program: Program): readonly Measured[] {
  return [
    { name: `${name} supervisor`, pid: program.pid },
    ...program.children('control').map(({ pid }) => ({ name: `${name} control`, pid })),
    ...program.children('worker').map(({ pid }, index) => ({ name: `${name} worker ${index}`, pid })),
  ];
}

/** Resident memory in MiB (proc_pid_status(5), VmRSS and its peak VmHWM). */
function memory(pid: number): { readonly now: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mib = (name: string): number => Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
  return { now: mib('VmRSS'), peak: mib('VmHWM') };
}

export interface Idle {
  readonly name: string;
  /** Of one core. */
  readonly cpuPercent: number;
  readonly memoryMib: number;
  readonly peakMib: number;
}

/** What each process takes while nobody asks for anything. */
export async function idle(processes: readonly Measured[], forMs: number): Promise<readonly Idle[]> {
  const before = processes.map(({ pid }) => cpuSeconds([pid]));
  const started = performance.now();
  await new Promise((resolve) => setTimeout(resolve, forMs));
  const seconds = (performance.now() - started) / 1_000;
  return processes.map(({ name, pid }, index) => {
    const { now, peak } = memory(pid);
    const cpuPercent = (100 * (cpuSeconds([pid]) - (before[index] ?? 0))) / seconds;
    return { name, cpuPercent, memoryMib: now, peakMib: peak };
  });
}

export function showIdle(rows: readonly Idle[]): string {
  return rows
    .map(
      ({ name, cpuPercent, memoryMib, peakMib }) =>
        `  ${name.padEnd(24)} ${cpuPercent.toFixed(1).padStart(6)} % of a core, ${memoryMib} MiB (peak ${peakMib})`,
    )
    .join('\n');
}

/** Numbers of `INFO` of a Redis. */
export async function redisInfo(port: number): Promise<(name: string) => number> {
  const { stdout } = await run('redis-cli', ['-p', String(port), 'INFO', 'everything']);
  return (name) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(stdout)?.[1]);
}
