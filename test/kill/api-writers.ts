import type { Program } from '../support/program.ts';
import type { Promises } from '../support/promises.ts';
import type { Chance } from '../sim/scheduler.ts';

const COMMAND = [
  'node',
  '-e',
  "require('node:http').createServer((q, r) => r.end('ok')).listen(process.env.PORT, '127.0.0.1')",
];

/** Users who create, change, stop, start and delete pods of their own, and remember what was acknowledged. */
export class ApiWriters {
  readonly #program: Program;
  readonly #promises: Promises;
  readonly #chance: Chance;
  readonly podIds: readonly string[];
  #isOn = false;
  #running: Promise<unknown> = Promise.resolve();
  acknowledged = 0;
  unanswered = 0;
  #marks = 0;

  constructor(program: Program, promises: Promises, chance: Chance) {
    this.#program = program;
    this.#promises = promises;
    this.#chance = chance;
    this.podIds = ['one', 'two', 'three'].flatMap((writer) => [`churn${writer}a`, `churn${writer}b`]);
  }

  start(): void {
    this.#isOn = true;
    const writers = ['one', 'two', 'three'].map(async (writer) => {
      while (this.#isOn) {
        await this.#act(this.#chance.pick([`churn${writer}a`, `churn${writer}b`]));
        await new Promise((resolve) => setTimeout(resolve, 20 + this.#chance.below(150)));
      }
    });
    this.#running = Promise.all(writers);
  }

  async stop(): Promise<void> {
    this.#isOn = false;
    await this.#running;
  }

  async #act(podId: string): Promise<void> {
    const mark = `mark ${(this.#marks += 1)}`;
    switch (this.#chance.below(8)) {
      case 0:
        return this.#write('GET', `/v3/pods/${podId}/stop`, undefined, podId, undefined);
      case 1:
      case 2:
        return this.#write('GET', `/v3/pods/${podId}/start`, undefined, podId, undefined);
      case 3:
        return this.#write('DELETE', `/v3/pods/${podId}`, undefined, podId, null);
      case 4:
      case 5:
        return this.#write('PUT', `/v3/pods/${podId}`, { description: mark }, podId, mark);
      default:
        return this.#write('POST', '/v3/pods', this.#newPod(podId, mark), podId, mark);
    }
  }

  #newPod(podId: string, mark: string): object {
    return {
      pod_id: podId,
      pod_template: 'podgate/process',
      command: COMMAND,
      description: mark,
      time_to_stop_default: -1,
    };
  }

  /** `mark`: what the record says after this write; null = it is gone; undefined = as before. */
  async #write(
    method: string,
    path: string,
    body: unknown,
    podId: string,
    mark: string | null | undefined,
  ): Promise<void> {
    if (mark !== undefined) this.#promises.attempted(podId, mark);
    try {
      const { status } = await this.#program.api(method, path, body);
      if (status === 200) {
        this.acknowledged += 1;
        if (mark !== undefined) this.#promises.acknowledged(podId, mark);
      } else if (status >= 500) this.unanswered += 1;
    } catch {
      this.unanswered += 1;
    }
  }
}
