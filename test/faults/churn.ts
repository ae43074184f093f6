import type { ApiClient, ApiReply } from '../support/installation/api-client.ts';
import { Promises } from '../support/promises.ts';
import type { Chance } from '../sim/scheduler.ts';
import { type Client, type Destination, type Gateway, type Identity, Witness } from './clients/client.ts';
import { HttpClient } from './clients/http-client.ts';
import { pagePod } from './test-pods.ts';

/** Between two calls of a user. */
const PAUSE_MS = { least: 20, more: 250 };
const PODS_PER_USER = 3;

export interface ChurnOptions {
  readonly api: ApiClient;
  readonly gateway: Gateway;
  readonly hostOf: (podId: string) => string;
  readonly users: number;
  readonly chance: Chance;
}

/**
 * Users who create, change, stop, start and delete pods of their own and remember what was acknowledged. Beside each pod
 * a client asks for it all the while: most of the time it is told that there is none, but what answers must be that pod,
 * and never one that was deleted before.
 */
export class Churn {
  readonly #options: ChurnOptions;
  readonly #promises = new Promises();
  /** Of acknowledged creates, starts, stops and deletes: whether the pod is to run. */
  readonly #wishes = new Promises();
  readonly #pods: readonly ChurnPod[];
  readonly #clients: readonly Client[];
  /** Answers from the wrong pod are kept here; that sessions end is in the nature of these pods. */
  readonly witness = new Witness();
  #isOn = false;
  #working: Promise<unknown> = Promise.resolve();
  #marks = 0;
  acknowledged = 0;
  unanswered = 0;
  /** Status and message of answers that say neither yes nor why not. */
  readonly unexpected: string[] = [];

  constructor(options: ChurnOptions) {
    this.#options = options;
    this.#pods = Array.from(
      { length: options.users * PODS_PER_USER },
      (_, index) => new ChurnPod(`churn${index}`, options.hostOf(`churn${index}`)),
    );
    this.#clients = this.#pods.map((pod) => new HttpClient(options.gateway, pod, this.witness));
  }

  get podIds(): readonly string[] {
    return this.#pods.map(({ podId }) => podId);
  }

  start(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    const users = Array.from({ length: this.#options.users }, async (_, user) => {
      const own = this.#pods.slice(user * PODS_PER_USER, (user + 1) * PODS_PER_USER);
      const { chance } = this.#options;
      while (this.#isOn) {
        await this.#act(chance.pick(own));
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS.least + chance.below(PAUSE_MS.more)));
      }
    });
    this.#working = Promise.all(users);
  }

  /** No call is under way any more. */
  async stop(): Promise<void> {
    this.#isOn = false;
    await this.#working;
  }

  /** With nobody writing: every pod is as its last acknowledged write left it, or one that was never answered. */
  async lost(): Promise<readonly string[]> {
    const problems: string[] = [];
    for (const { podId } of this.#pods) {
      const { mark, wish } = await this.#found(podId);
      for (const problem of [this.#promises.problem(podId, mark), this.#wishes.problem(podId, wish)]) {
        if (problem !== null) problems.push(`an acknowledged write is lost: ${problem}`);
      }
    }
    return problems;
  }

  /** The store has come back with other data: what there is now is what counts from now on. */
  async acceptPresent(): Promise<void> {
    for (const { podId } of this.#pods) {
      const { mark, wish } = await this.#found(podId);
      this.#promises.acknowledged(podId, mark);
      this.#wishes.acknowledged(podId, wish);
    }
  }

  async #found(podId: string): Promise<{ readonly mark: string | null; readonly wish: string | null }> {
    const { status, result } = await this.#options.api.call('GET', `/v3/pods/${podId}`);
    if (status === 404) return { mark: null, wish: null };
    if (status !== 200) throw new Error(`GET ${podId}: ${status}`);
    const pod = result as { readonly description?: string; readonly status_requested?: string } | null;
    return { mark: pod?.description ?? '?', wish: pod?.status_requested ?? '?' };
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  #act(pod: ChurnPod): Promise<void> {
    const path = `/v3/pods/${pod.podId}`;
    const mark = `mark ${(this.#marks += 1)}`;
    switch (this.#options.chance.below(8)) {
      case 0:
        return this.#write('GET', `${path}/stop`, undefined, pod, { wish: 'OFF' });
      case 1:
        return this.#write('GET', `${path}/start`, undefined, pod, { wish: 'ON' });
      case 2:
        return this.#write('GET', `${path}/restart`, undefined, pod, { wish: 'ON' });
      case 3:
        return this.#write('DELETE', path, undefined, pod, { mark: null, wish: null });
      case 4:
        return this.#write('PUT', path, { description: mark }, pod, { mark });
      default: {
        const body = { ...pagePod(pod.podId), description: mark };
        return this.#write('POST', '/v3/pods', body, pod, { mark, wish: 'ON' });
      }
    }
  }

  async #write(method: string, path: string, body: unknown, pod: ChurnPod, { mark, wish }: Effect): Promise<void> {
    if (mark !== undefined) this.#promises.attempted(pod.podId, mark);
    if (wish !== undefined) this.#wishes.attempted(pod.podId, wish);
    // A create may be acknowledged long after its pod has begun to answer, as when the API is paused in between.
    const before = pod.seen();
    let reply: ApiReply;
    try {
      reply = await this.#options.api.call(method, path, body);
    } catch {
      this.unanswered += 1;
      return;
    }
    const { status } = reply;
    if (status === 200) {
      this.acknowledged += 1;
      if (mark !== undefined) this.#promises.acknowledged(pod.podId, mark);
      if (wish !== undefined) this.#wishes.acknowledged(pod.podId, wish);
      if (method === 'POST') pod.isNew(before);
    } else if (status >= 500) this.unanswered += 1;
    else if (status !== 404 && status !== 409) this.unexpected.push(`${method} ${path}: ${JSON.stringify(reply)}`);
  }
}

/** What a write leaves in the record; null = there is none any more, absent = as before. */
interface Effect {
  readonly mark?: string | null;
  readonly wish?: 'ON' | 'OFF' | null;
}

/** A pod id that belongs to one pod after the other. */
class ChurnPod implements Destination {
  readonly podId: string;
  readonly host: string;
  readonly #seen = new Set<string>();
  readonly #past = new Set<string>();

  constructor(podId: string, host: string) {
    this.podId = podId;
    this.host = host;
  }

  /** All that have answered until now. */
  seen(): readonly string[] {
    return [...this.#seen];
  }

  /** A create was acknowledged: whatever had answered before it was sent has gone for good. */
  isNew(before: readonly string[]): void {
    for (const uid of before) this.#past.add(uid);
  }

  problem({ uid, name }: Identity): string | null {
    if (!name.endsWith(`-${this.podId}`)) return `${this.host} was answered by ${name}`;
    if (this.#past.has(uid)) return `${this.host} was answered by ${uid}, which was deleted before`;
    this.#seen.add(uid);
    return null;
  }
}
