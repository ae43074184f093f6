import { processInfo } from '../support/process-table.ts';
import type { Program } from '../support/program.ts';
import { until } from '../support/until.ts';
import type { Chance } from '../sim/scheduler.ts';

/** More often what is replaced while the rest goes on. */
export const TARGETS = ['control', 'control', 'worker', 'worker', 'program', 'supervisor'] as const;
export type Target = (typeof TARGETS)[number];

/** Where many others work on the same machine, a start takes its time. */
const READY_MS = 180_000;

/** Kills, waits until the program is whole again, and returns the pids whose sessions may be cut. */
export async function strike(program: Program, target: Target, chance: Chance): Promise<readonly number[]> {
  const workers = program.children('worker').map(({ pid }) => pid);
  const control = program.children('control')[0];
  if (control === undefined) throw new Error('there is no control child');
  switch (target) {
    case 'control':
      process.kill(control.pid, 'SIGKILL');
      await replaced(program, 'control', control.pid);
      return [];
    case 'worker': {
      const victim = chance.pick(workers);
      process.kill(victim, 'SIGKILL');
      await replaced(program, 'worker', victim);
      return [victim];
    }
    case 'program':
    case 'supervisor': {
      const all = [program.pid, control.pid, ...workers];
      const before = all.map((pid) => ({ pid, startTime: processInfo(pid)?.startTime }));
      for (const pid of target === 'program' ? all : [program.pid]) process.kill(pid, 'SIGKILL');
      await program.ended();
      if (target === 'supervisor') {
        await until('control child and workers end after their supervisor', () =>
          before.every(({ pid, startTime }) => {
            const now = processInfo(pid);
            return now === null || now.state === 'Z' || now.startTime !== startTime;
          }),
        );
      }
      program.launch();
      await program.ready(READY_MS);
      return workers;
    }
  }
}

async function replaced(program: Program, role: 'control' | 'worker', killed: number): Promise<void> {
  await until(
    `a new ${role} child`,
    () => {
      const children = program.children(role);
      return children.length >= (role === 'worker' ? 2 : 1) && children.every(({ pid }) => pid !== killed);
    },
    { timeoutMs: READY_MS },
  );
  await until('the program is ready', async () => (await program.get('/readyz')).status === 200, {
    timeoutMs: READY_MS,
  });
}
