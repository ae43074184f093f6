import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { serve } from './serve.ts';

/** All that a test image needs to know, plain data: it may run in another process. */
export interface BehaviourInput {
  readonly environment: Readonly<Record<string, string>>;
  readonly address: string;
  readonly ports: readonly number[];
  readonly identity: Readonly<Record<string, unknown>>;
  /** Directories of its volume mounts, in their order. */
  readonly volumes: readonly string[];
}

export interface BehaviourSignals {
  /** SIGTERM. */
  readonly told: AbortSignal;
  /** SIGKILL, which only somebody in this process must heed: everything is closed at once. */
  readonly killed: AbortSignal;
}

/** Runs until it ends by itself or is told to; answers its exit code. */
export type Behaviour = (
  input: BehaviourInput,
  print: (text: string) => void,
  signals: BehaviourSignals,
) => Promise<number>;

/**
 * What the images podgate.test/* do. Their variables: START_AFTER_MS (listens only then), SPEAK_AFTER_MS (see serve.ts), STOP_AFTER_MS (ends so long
 * after SIGTERM; `never` ignores it), and for `exits` EXIT_CODE, EXIT_LINE and EXIT_AFTER_MS.
 */
export const BEHAVIOURS: Readonly<Record<string, Behaviour>> = {
  'podgate.test/serves': serves,

  'podgate.test/exits': async ({ environment }, print, { told }) => {
    if (environment['EXIT_LINE'] !== undefined) print(`${environment['EXIT_LINE']}\n`);
    await pause(Number(environment['EXIT_AFTER_MS'] ?? 0), told);
    return told.aborted ? TERMINATED : Number(environment['EXIT_CODE'] ?? 0);
  },

  /** Adds a line to a file of its first volume at each start, prints the whole file, and serves. */
  'podgate.test/counts-starts': async (input, print, signals) => {
    const [volume] = input.volumes;
    if (volume === undefined) {
      print('no volume is mounted\n');
      return 1;
    }
    const file = join(volume, 'starts');
    appendFileSync(file, 'start\n');
    print(readFileSync(file, 'utf8'));
    return serves(input, print, signals);
  },
};

const TERMINATED = 143;

async function serves(
  input: BehaviourInput,
  print: (text: string) => void,
  { told, killed }: BehaviourSignals,
): Promise<number> {
  await pause(Number(input.environment['START_AFTER_MS'] ?? 0), told);
  if (told.aborted || killed.aborted) return TERMINATED;
  try {
    const server = await serve(input);
    print(`listening on ${input.address}, ports ${input.ports.join(' ')}\n`);
    await Promise.race([aborted(killed), ending(told, input.environment['STOP_AFTER_MS'])]);
    server.close();
    return 0;
  } catch (error) {
    print(`${String(error)}\n`);
    return 1;
  }
}

/** `stopAfter`: milliseconds, or 'never'. */
async function ending(told: AbortSignal, stopAfter: string | undefined): Promise<void> {
  await aborted(told);
  if (stopAfter === 'never') await new Promise<never>(() => undefined);
  if (stopAfter !== undefined) await delay(Number(stopAfter));
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds > 0) await delay(milliseconds, undefined, { signal }).catch(() => undefined);
}
