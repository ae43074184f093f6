import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processInfo, processTable } from '../process-table.ts';
import { Program, type ProgramOptions } from '../program.ts';
import { until } from '../until.ts';

/** Debian's libfaketime; the variant for programs with threads. */
const FAKETIME_LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';

export interface ReplicaOptions extends ProgramOptions {
  readonly name: string;
  readonly folder: string;
  /** Its wall clock can be moved: see `setClock`. It costs a little at every look at the clock. */
  readonly hasOwnClock: boolean;
}

/** One whole Podgate of several, which can be killed, paused and started again, and live in another hour. */
export class Replica {
  readonly name: string;
  readonly program: Program;
  readonly #clockFile: string | null;

  private constructor(name: string, program: Program, clockFile: string | null) {
    this.name = name;
    this.program = program;
    this.#clockFile = clockFile;
  }

  static async prepare({ name, folder, hasOwnClock, ...options }: ReplicaOptions): Promise<Replica> {
    const clockFile = hasOwnClock ? join(folder, 'clock') : null;
    const env = { ...options.env, ...(clockFile === null ? {} : clockVariables(clockFile)) };
    const program = await Program.prepare({ ...options, env, dataDir: join(folder, 'data') });
    const replica = new Replica(name, program, clockFile);
    if (hasOwnClock) replica.setClock(0);
    return replica;
  }

  /** Its wall clock is so many hours ahead of the machine's from now on (a second later at most). */
  setClock(hours: number): void {
    if (this.#clockFile === null) throw new Error(`replica ${this.name} has no clock of its own`);
    writeFileSync(this.#clockFile, `${hours < 0 ? '-' : '+'}${Math.abs(hours) * 3_600}\n`);
  }

  /** The supervisor and its children: with Kubernetes' pods as workloads, all there is of it. */
  pids(): readonly number[] {
    if (!this.program.isRunning) return [];
    const { pid } = this.program;
    return [pid, ...processTable().flatMap((info) => (info.parent === pid && info.state !== 'Z' ? [info.pid] : []))];
  }

  /** SIGKILL to all of it at once, as when a node is lost. */
  async kill(): Promise<void> {
    const before = this.pids().map((pid) => ({ pid, startTime: processInfo(pid)?.startTime }));
    this.signal('SIGKILL');
    await until(`replica ${this.name} is gone`, () =>
      before.every(({ pid, startTime }) => {
        const now = processInfo(pid);
        return now === null || now.state === 'Z' || now.startTime !== startTime;
      }),
    );
    await this.program.ended();
  }

  signal(signal: NodeJS.Signals): void {
    for (const pid of this.pids()) sendSignal(pid, signal);
  }

  /** To its control child alone: the gateway goes on. */
  signalControl(signal: NodeJS.Signals): void {
    for (const { pid } of this.program.children('control')) sendSignal(pid, signal);
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}

/** Durations go on as they are: only the wall clock moves. */
function clockVariables(file: string): Record<string, string> {
  return {
    LD_PRELOAD: FAKETIME_LIBRARY,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  };
}
