/**
 * node bench/at-rest.ts [PODS = 3] [SECONDS = 60] [CHECKOUT ...]
 * What an idle installation with two workers costs: CPU as a share of one core, context switches and memory, by process.
 * With several checkouts, one installation of each runs at the same time, so that all share the same noise. CPU is what the
 * scheduler counts in nanoseconds (/proc/PID/task/TID/schedstat), memory is read half a minute after the second start.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pause } from '../core/abort.ts';
import type { Program } from '../test/support/program.ts';
import { machine } from './measure.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const [pods = 3, seconds = 60] = process.argv.slice(2, 4).map(Number);
const checkouts = process.argv.length > 4 ? process.argv.slice(4) : [join(import.meta.dirname, '..')];
const SETTLE_MS = 30_000;
const never = new AbortController().signal;

interface Used {
  readonly ms: number;
  readonly switches: number;
}

const programs: { readonly checkout: string; readonly program: Program }[] = [];
try {
  for (const checkout of checkouts) {
    const path = pathToFileURL(join(resolve(checkout), 'test/support/program.ts')).href;
    const imported = (await import(path)) as { readonly Program: typeof Program };
    const program = await imported.Program.start({ workers: 2 });
    programs.push({ checkout, program });
    await program.stop();
    await program.start();
    for (let pod = 0; pod < pods; pod += 1)
      await program.createPod({ pod_id: `atrest${pod}`, pod_template: 'podgate/hello' });
  }
  console.log(`${machine()}; ${pods} pods, ${seconds} s`);
  await pause(SETTLE_MS, never);
  const before = programs.map(({ program }) => usedBy(program));
  await pause(seconds * 1_000, never);
  const after = programs.map(({ program }) => usedBy(program));
  for (const [at, { checkout, program }] of programs.entries()) {
    console.log(`\n${checkout}`);
    for (const [name, pid] of processesOf(program)) {
      const from = before[at]?.get(pid);
      const to = after[at]?.get(pid);
      if (from === undefined || to === undefined) throw new Error(`${name} was restarted`);
      const share = ((to.ms - from.ms) / (seconds * 1_000)) * 100;
      const perSecond = (to.switches - from.switches) / seconds;
      const { pss, own } = memoryOf(pid);
      console.log(
        `${name.padEnd(12)} ${share.toFixed(3)} % of a core, ${perSecond.toFixed(1)} context switches/s, ` +
          `${pss.toFixed(1)} MiB PSS, ${own.toFixed(1)} MiB private`,
      );
    }
    const memory = processesOf(program).map(([, pid]) => memoryOf(pid));
    const sum = (of: 'pss' | 'own'): string => memory.reduce((total, one) => total + one[of], 0).toFixed(1);
    console.log(`all of them: ${sum('pss')} MiB PSS, ${sum('own')} MiB private`);
  }
} finally {
  for (const { program } of programs) {
    for (let pod = 0; pod < pods; pod += 1) await program.api('DELETE', `/v3/pods/atrest${pod}`).catch(() => undefined);
    await pause(2_000, never);
    await program.dispose();
  }
}

function processesOf(program: Program): readonly (readonly [string, number])[] {
  const of = (role: 'control' | 'worker' | 'probe') =>
    program.children(role).map(({ pid }, at) => [role === 'worker' ? `worker ${at}` : role, pid] as const);
  return [['supervisor', program.pid], ...of('control'), ...of('worker'), ...of('probe')];
}

function usedBy(program: Program): ReadonlyMap<number, Used> {
  return new Map(
    processesOf(program).map(([, pid]) => {
      let ns = 0;
      let switches = 0;
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const directory = `/proc/${pid}/task/${thread}`;
        ns += Number(readFileSync(`${directory}/schedstat`, 'utf8').split(' ')[0]);
        const status = readFileSync(`${directory}/status`, 'utf8');
        for (const [, count] of status.matchAll(/ctxt_switches:\s+(\d+)/g)) switches += Number(count);
      }
      return [pid, { ms: ns / 1e6, switches }] as const;
    }),
  );
}

function memoryOf(pid: number): { readonly pss: number; readonly own: number } {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const of = (pattern: RegExp): number => Number(pattern.exec(rollup)?.[1]) / 1_024;
  return { pss: of(/^Pss: +(\d+) kB$/m), own: of(/^Private_Dirty: +(\d+) kB$/m) };
}
