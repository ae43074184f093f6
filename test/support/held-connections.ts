import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { HoldOptions } from './hold-connections.ts';

export interface HeldConnections {
  /** How many were opened. */
  readonly opened: number;
  /** How many are still there, or have echoed a word each. */
  ask(question: 'held' | 'echo'): Promise<number>;
  close(): Promise<void>;
}

/** See hold-connections.ts. Resolves when all that can be opened are. */
export async function holdConnections(options: HoldOptions): Promise<HeldConnections> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'hold-connections.ts'), JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const ended = once(child, 'close');
  const number = async (): Promise<number> => {
    const line = (await Promise.race([once(lines, 'line'), ended.then(() => ['ended'])])) as [string];
    return Number(line[0].split(' ')[1]);
  };
  const opened = await number();
  return {
    opened,
    async ask(question) {
      const answer = number();
      child.stdin.write(`${question}\n`);
      return await answer;
    },
    async close() {
      child.stdin.end();
      await ended;
    },
  };
}
