import { untilAborted } from '../../core/abort.ts';
import type { Clock } from '../../core/clock.ts';
import type {
  PodConnectionsReader,
  ReplicaConnections,
  PodConnectionsReport,
} from '../../core/pod-connections-reader.ts';
import { forBus, mergePodConnections, parsePodConnections } from '../../core/pod-connections.ts';
import { mergePodUse, type PodUse } from '../../core/pod-use.ts';
import type { Json, Replicas } from '../../core/replicas.ts';
import { parseWorkerName, workerText } from '../../core/worker-name.ts';
import { fieldOf, ReplicaQuestions } from './ask-replicas.ts';
import type { ConnectionQuestions } from './worker-questions.ts';

/** Workers have one second of this. */
const ANSWER_MS = 2_000;
/** Others' questions that are being answered; one beyond is not. */
const ANSWERING_MAX = 200;
/** In a message. */
const WORKERS_MAX = 64;

interface HeardAnswer {
  readonly seen: ReplicaConnections;
  readonly missing: readonly string[];
}

/** Asks the workers of this replica over the feed, those of the others by way of the bus between replicas. */
export function createPodConnectionsReader({
  questions,
  replicas,
  clock,
  ownUse = () => ({ lastUsedMs: null, because: {}, isHeld: true }),
}: {
  readonly questions: Pick<ConnectionQuestions, 'ask'>;
  readonly replicas: Replicas;
  readonly clock: Clock;
  /** What this replica itself does in a pod. Default: nothing. */
  readonly ownUse?: (uid: string) => PodUse;
}): PodConnectionsReader & { run(signal: AbortSignal): Promise<void> } {
  const others = new ReplicaQuestions<string, HeardAnswer>({
    replicas,
    topic: 'connections',
    parseQuestion: (value) => (typeof value === 'string' ? value : null),
    parseAnswer,
    answeringMax: ANSWERING_MAX,
  });

  async function lookHere(uid: string): Promise<HeardAnswer> {
    const { answers, missing } = await questions.ask(uid);
    const told = answers.map(({ answer }) => answer).filter((each) => each !== null);
    const workers = answers.map(({ worker, answer }) => {
      const stanzas = Object.values(answer?.stanzas ?? {});
      const sum = (key: 'sessionsNow' | 'requestsNow') => stanzas.reduce((sofar, counts) => sofar + counts[key], 0);
      return { ...worker, sessionsNow: sum('sessionsNow'), requestsNow: sum('requestsNow') };
    });
    const use = mergePodUse([ownUse(uid), ...answers.map(({ answer }) => answer?.use)]);
    return {
      seen: {
        replica: replicas.id,
        ...mergePodConnections(told, clock.now()),
        ...(use !== undefined && { use }),
        workers: workers.slice(0, WORKERS_MAX),
      },
      missing: missing.map((worker) => `${workerText(worker)} of replica ${replicas.id}`),
    };
  }

  return {
    async read(uid): Promise<PodConnectionsReport> {
      const asking = others.ask(uid, { timeoutMs: ANSWER_MS });
      const here = await lookHere(uid);
      const { answers, missing } = await asking;
      const all = [here, ...answers.values()];
      return {
        replicas: all.map(({ seen }) => seen).toSorted((a, b) => (a.replica < b.replica ? -1 : 1)),
        missing: [...all.flatMap((each) => each.missing), ...missing.map((replica) => `replica ${replica}`)],
      };
    },

    async run(signal) {
      const stop = others.listen(async (uid) => {
        const { seen, missing } = await lookHere(uid);
        return { seen: forBus(seen), missing };
      });
      await untilAborted(signal);
      stop();
    },
  };
}

function parseAnswer(value: Json, from: string): HeardAnswer | null {
  const [seen, missing] = [fieldOf(value, 'seen'), fieldOf(value, 'missing')];
  const connections = parsePodConnections(seen);
  if (connections === null || !isFields(seen) || !Array.isArray(missing)) return null;
  const { workers } = seen;
  if (!Array.isArray(workers)) return null;
  const parsed = (workers as readonly Json[]).slice(0, WORKERS_MAX).flatMap((each) => {
    if (!isFields(each)) return [];
    const { sessionsNow, requestsNow } = each;
    const name = parseWorkerName(each);
    if (name === null || typeof sessionsNow !== 'number' || typeof requestsNow !== 'number') return [];
    return [{ ...name, sessionsNow, requestsNow }];
  });
  return {
    seen: { replica: from, ...connections, workers: parsed },
    missing: (missing as readonly Json[])
      .slice(0, WORKERS_MAX)
      .map((name) => (typeof name === 'string' ? name.slice(0, 200) : 'somebody')),
  };
}

function isFields(value: Json | undefined): value is Readonly<Record<string, Json>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
