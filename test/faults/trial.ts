import type { Installation } from '../support/installation/installation.ts';
import { until } from '../support/until.ts';
import { Chance } from '../sim/scheduler.ts';
import { Churn } from './churn.ts';
import type { Destination, Identity, Mishap } from './clients/client.ts';
import { Crowd, type CrowdCount } from './clients/crowd.ts';
import type { Figures, Outcome, Scenario } from './scenario.ts';
import type { Scale } from './scale.ts';
import { echoPod, pagePod } from './test-pods.ts';
import { touched, type WorkloadObject, workloadObjects } from './workload-objects.ts';

/** HAProxy logs a session when both of its sides have ended. */
const LOGGED_MS = 500;
/** The kernel may hand on what a killed process had accepted only after its death. */
const EXCUSED_MS = 5_000;
const PROBLEMS_SHOWN = 10;

interface Excuse {
  readonly server: string;
  readonly atMs: number;
}

/** An installation with pods, clients and users on it, that faults are tried on one after the other. */
export class Trial {
  readonly installation: Installation;
  readonly scale: Scale;
  readonly chance: Chance;
  readonly churn: Churn;
  readonly crowd: Crowd;
  /** Podgate's uids of the pods that nobody asks to change. */
  readonly #stable: ReadonlySet<string>;
  #startedMs = performance.now();
  #excuses: Excuse[] = [];
  #problems: string[] = [];

  private constructor(parts: {
    installation: Installation;
    scale: Scale;
    chance: Chance;
    stable: ReadonlySet<string>;
    targets: { echo: readonly Destination[]; http: readonly Destination[] };
  }) {
    const { installation, scale, chance, stable, targets } = parts;
    this.installation = installation;
    this.scale = scale;
    this.chance = chance;
    this.#stable = stable;
    const { api, gateway } = installation;
    const hostOf = (podId: string) => installation.hostOf(podId);
    this.churn = new Churn({ api, gateway, hostOf, users: scale.users, chance });
    this.crowd = new Crowd(scale.clients, gateway, targets);
  }

  static async begin(installation: Installation, scale: Scale, seed: number): Promise<Trial> {
    const names = Array.from({ length: scale.stablePods }, (_, index) => `stable${index}`);
    const pods = names.map((podId, index) => (index % 2 === 0 ? echoPod(podId) : pagePod(podId)));
    await Promise.all(pods.map((pod) => created(installation, pod)));
    const objects = await workloadObjects(installation.cluster.client, installation.namespace);
    const targets = { echo: [] as Destination[], http: [] as Destination[] };
    for (const [index, podId] of names.entries()) {
      const uid = [...objects.values()].find(({ name }) => name.endsWith(`-${podId}`))?.podUid;
      if (uid === undefined || uid === '') throw new Error(`the workload of ${podId} bears no uid`);
      targets[index % 2 === 0 ? 'echo' : 'http'].push(new StablePod(installation.hostOf(podId), uid));
    }
    const stable = new Set([...targets.echo, ...targets.http].map((pod) => (pod as StablePod).uid));
    const trial = new Trial({ installation, scale, chance: new Chance(seed), stable, targets });
    await trial.crowd.allServed(30_000);
    return trial;
  }

  say(text: string): void {
    console.log(`  ${this.#timeOf(performance.now())} ${text}`);
  }

  #timeOf(ms: number): string {
    return `${((ms - this.#startedMs) / 1_000).toFixed(1)} s`;
  }

  problem(text: string): void {
    this.#problems.push(text);
  }

  /** Sessions through this replica may end now: its processes are killed. */
  excuse(server: string): void {
    this.#excuses.push({ server, atMs: performance.now() });
  }

  /** Objects of the pods' namespace, as they are now. */
  objects(): Promise<ReadonlyMap<string, WorkloadObject>> {
    return workloadObjects(this.installation.cluster.client, this.installation.namespace);
  }

  /** What differs from `before` of the pods that nobody asked to change, or of all pods. */
  async touchedSince(
    before: ReadonlyMap<string, WorkloadObject>,
    which: 'stable' | 'all' = 'stable',
  ): Promise<readonly string[]> {
    return touched(before, await this.objects(), which === 'all' ? 'all' : this.#stable);
  }

  async run(scenario: Scenario): Promise<Outcome> {
    this.#problems = [];
    this.#excuses = [];
    this.#startedMs = performance.now();
    let figures: Figures = {};
    let settledMs = Number.NaN;
    const mark = this.crowd.mark();
    const wrongBefore = this.churn.witness.wrong.length;
    const writesBefore = this.churn.acknowledged;
    const unansweredBefore = this.churn.unanswered;
    try {
      const before = await this.objects();
      this.churn.start();
      figures = await scenario.run(this);
      await this.crowd.allServed(30_000);
      settledMs = await this.settle();
      for (const problem of await this.churn.lost()) this.problem(problem);
      for (const problem of await this.touchedSince(before)) this.problem(`not asked for: ${problem}`);
    } catch (error) {
      this.problem(error instanceof Error ? `${error.message}${causeOf(error)}` : String(error));
    }
    await this.churn.stop();
    await new Promise((resolve) => setTimeout(resolve, LOGGED_MS));
    const count = this.crowd.since(mark);
    const excused = this.#judge(count, this.churn.witness.wrong.slice(wrongBefore));
    for (const answer of this.churn.unexpected.splice(0)) this.problem(`unexpected answer of the API: ${answer}`);
    return {
      scenario: scenario.name,
      seconds: (performance.now() - this.#startedMs) / 1_000,
      settledSeconds: settledMs / 1_000,
      exchanges: count.exchanges,
      cuts: count.cuts.length,
      refused: count.refused.length,
      excused,
      wrong: count.wrong.length,
      acknowledged: this.churn.acknowledged - writesBefore,
      unanswered: this.churn.unanswered - unansweredBefore,
      figures,
      problems: this.#problems,
    };
  }

  /** Ends the users' work and waits until all is as they want it. Answers how long that took. */
  async settle(): Promise<number> {
    await this.churn.stop();
    const started = performance.now();
    const { settleMs } = this.scale;
    let last = '';
    await until(
      'every pod is where its user wants it, and nothing runs beside',
      async () => (last = await this.#unsettled()) === '',
      { timeoutMs: settleMs, everyMs: 250 },
    ).catch((error: unknown) => {
      throw new Error(`not settled within ${settleMs} ms: ${last}`, { cause: error });
    });
    return performance.now() - started;
  }

  /** '' when all is well. */
  async #unsettled(): Promise<string> {
    const { status, result } = await this.installation.api.call('GET', '/v3/pods');
    if (status !== 200) return `GET /v3/pods: ${status}`;
    const pods = result as readonly { pod_id: string; status: string; status_requested: string }[];
    const restless = pods.filter(
      ({ status: is, status_requested: wish }) => is !== (wish === 'ON' ? 'RUNNING' : 'STOPPED'),
    );
    if (restless.length > 0) {
      const some = restless.slice(0, 5).map((pod) => `${pod.pod_id} is ${pod.status}, wished ${pod.status_requested}`);
      return `${restless.length} pods: ${some.join(', ')}`;
    }
    const wanted = new Set(pods.filter((pod) => pod.status === 'RUNNING').map((pod) => pod.pod_id));
    const there = [...(await this.objects()).values()];
    const workloads = there.filter(({ key }) => key.startsWith('pods/'));
    const ofWanted = ({ name }: WorkloadObject): boolean => name.split('-').some((part) => wanted.has(part));
    // Not by name alone: what a pod of the same id has left is a stray as well.
    const running = new Set(workloads.map(({ podUid }) => podUid));
    const strays = there.filter(
      (object) => belongsToPod(object.name) && !(ofWanted(object) && running.has(object.podUid)),
    );
    if (strays.length > 0) return `left over: ${strays.map(({ key }) => key).join(' ')}`;
    return workloads.length === wanted.size ? '' : `${wanted.size} pods run, ${workloads.length} workloads do`;
  }

  /** Notes what is not excused; answers how many mishaps are. */
  #judge(count: CrowdCount, wrongOfChurn: readonly Mishap[]): number {
    const { proxy } = this.installation;
    const isExcused = ({ atMs, clientPort }: Mishap): boolean => {
      const server = proxy.endedSession(clientPort, atMs)?.server;
      return this.#excuses.some(
        (excuse) => excuse.server === server && atMs >= excuse.atMs && atMs <= excuse.atMs + EXCUSED_MS,
      );
    };
    const tell = (what: string, mishaps: readonly Mishap[]): void => {
      for (const mishap of mishaps.slice(0, PROBLEMS_SHOWN)) {
        const session = proxy.endedSession(mishap.clientPort, mishap.atMs);
        const by = session === null ? '' : `, through ${session.server}, ${session.ending}`;
        this.problem(`${what} at ${this.#timeOf(mishap.atMs)}: ${mishap.host}: ${mishap.why}${by}`);
      }
      if (mishaps.length > PROBLEMS_SHOWN) this.problem(`${what}: ${mishaps.length} in all`);
    };
    tell('wrong bytes', [...count.wrong, ...wrongOfChurn]);
    const cuts = count.cuts.filter((mishap) => !isExcused(mishap));
    const refused = count.refused.filter((mishap) => !isExcused(mishap));
    tell('a session was cut', cuts);
    tell('a client was refused', refused);
    return count.cuts.length + count.refused.length - cuts.length - refused.length;
  }

  async end(): Promise<void> {
    await this.churn.stop();
    this.churn.close();
    this.crowd.close();
  }
}

class StablePod implements Destination {
  readonly host: string;
  readonly uid: string;

  constructor(host: string, uid: string) {
    this.host = host;
    this.uid = uid;
  }

  problem({ uid, name }: Identity): string | null {
    return uid === this.uid ? null : `${this.host} was answered by ${name}, uid ${uid}, not ${this.uid}`;
  }
}

async function created({ api }: Installation, pod: Record<string, unknown>): Promise<void> {
  const { status, message } = await api.call('POST', '/v3/pods?wait=routable', pod, 70_000);
  if (status !== 200) throw new Error(`create ${String(pod['pod_id'])}: ${status} ${JSON.stringify(message)}`);
}

const belongsToPod = (name: string): boolean => name.startsWith('pods-') || name.startsWith('pod-');

const causeOf = ({ cause }: Error): string => (cause instanceof Error ? ` (${cause.message})` : '');
