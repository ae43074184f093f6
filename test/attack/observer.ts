import { readFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Program } from '../support/program.ts';

const EVERY_MS = 250;
const DEADLINE_MS = 10_000;
/** As `deploy/` sets it for the kubelet. */
const PROBE_TIMEOUT_MS = 2_000;
const BYSTANDER_POD = 'hello';

/**
 * A bystander during an attack: calls the API and a pod through the gateway, asks the probes as a kubelet does, and reads
 * the memory of Podgate's processes.
 */
export class Observer {
  readonly #program: Program;
  readonly #token: string;
  readonly #done: Promise<void>;
  #isOver = false;
  controlPeakMiB = 0;
  workerPeakMiB = 0;
  apiLongestMs = 0;
  podLongestMs = 0;
  loopDelayMs = 0;
  probesFailed = 0;
  /** What a bystander saw and should not have seen, each once. */
  readonly failures = new Set<string>();

  constructor(program: Program, token: string) {
    this.#program = program;
    this.#token = token;
    this.#done = Promise.all([this.#api(), this.#pod(), this.#probes(), this.#memory()]).then(() => undefined);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#done;
  }

  async #api(): Promise<void> {
    await this.#repeat(async () => {
      const { status, ms } = await get(requestHttps, {
        ...this.#through('localhost'),
        path: `/v3/pods/${BYSTANDER_POD}`,
        headers: { 'x-tapis-token': this.#token },
      });
      this.apiLongestMs = Math.max(this.apiLongestMs, ms);
      if (status !== 200) this.failures.add(`an API call of a bystander ended with ${status}`);
    });
  }

  async #pod(): Promise<void> {
    await this.#repeat(async () => {
      const { status, ms } = await get(requestHttps, {
        ...this.#through(`${BYSTANDER_POD}.pods.localhost`),
        path: '/',
      });
      this.podLongestMs = Math.max(this.podLongestMs, ms);
      if (status !== 200) this.failures.add(`a request of a bystander to its pod ended with ${status}`);
    });
  }

  async #probes(): Promise<void> {
    await this.#repeat(async () => {
      const probe = { host: '127.0.0.1', port: this.#program.controlPort, path: '/readyz', headers: {} };
      const { status, ms } = await get(requestHttp, probe);
      if (status !== 200 || ms > PROBE_TIMEOUT_MS) this.probesFailed += 1;
      const { body } = await get(requestHttp, {
        ...probe,
        path: '/metrics',
        headers: { 'x-tapis-token': this.#program.token },
      });
      for (const [, seconds] of body.matchAll(/^podgate_process_event_loop_delay_seconds\{.*\} (\S+)$/gm))
        this.loopDelayMs = Math.max(this.loopDelayMs, Number(seconds) * 1_000);
    });
  }

  async #memory(): Promise<void> {
    await this.#repeat(() => {
      const { control, worker } = residentMiB(this.#program);
      this.controlPeakMiB = Math.max(this.controlPeakMiB, control);
      this.workerPeakMiB = Math.max(this.workerPeakMiB, worker);
      return Promise.resolve();
    });
  }

  async #repeat(turn: () => Promise<void>): Promise<void> {
    while (!this.#isOver) {
      await turn();
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  #through(servername: string): Target {
    const { httpsPort: port, ca } = this.#program;
    return { host: '127.0.0.1', port, servername, ca, path: '/', headers: {}, hostHeader: `${servername}:${port}` };
  }
}

/** The largest process of each role. */
export function residentMiB(program: Program): { readonly control: number; readonly worker: number } {
  const largest = (role: 'control' | 'worker'): number =>
    Math.max(0, ...program.children(role).map(({ pid }) => residentOf(pid)));
  return { control: largest('control'), worker: largest('worker') };
}

function residentOf(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024;
  } catch {
    return 0;
  }
}

interface Target {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly servername?: string;
  readonly ca?: string;
  readonly hostHeader?: string;
}

/** On a connection of its own. A status of 0 stands for no response. */
function get(
  request: typeof requestHttp | typeof requestHttps,
  { hostHeader, headers, ...target }: Target,
): Promise<{ readonly status: number; readonly ms: number; readonly body: string }> {
  const startedMs = performance.now();
  return new Promise((resolve) => {
    const end = (status: number, body = ''): void => resolve({ status, body, ms: performance.now() - startedMs });
    const outgoing = request(
      { ...target, agent: false, headers: { ...headers, ...(hostHeader === undefined ? {} : { host: hostHeader }) } },
      (answer) => {
        let body = '';
        answer.setEncoding('utf8').on('data', (text: string) => (body += text));
        answer.on('error', () => end(0));
        answer.on('end', () => end(answer.statusCode ?? 0, body));
      },
    );
    const deadline = setTimeout(() => outgoing.destroy(new Error('no response in time')), DEADLINE_MS);
    outgoing.on('error', () => end(0));
    outgoing.on('close', () => clearTimeout(deadline));
    outgoing.end();
  });
}
