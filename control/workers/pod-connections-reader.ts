import { randomUUID } from 'node:crypto';
import { pause, untilAborted } from '../../core/abort.ts';
import type { Clock } from '../../core/clock.ts';
import type {
  PodConnectionsReader,
  ReplicaConnections,
  PodConnectionsReport,
} from '../../core/pod-connections-reader.ts';
import { mergePodConnections, parsePodConnections } from '../../core/pod-connections.ts';
import type { Json, Replicas } from '../../core/replicas.ts';
import { parseWorkerName, workerText } from '../../core/worker-name.ts';
import type { WorkerQuestions } from './worker-questions.ts';

/** The workers of another replica have a second of it. */
const ANSWER_MS = 2_000;
/** Others' questions that are being answered; one beyond is not. */
const ANSWERING_MAX = 200;
/** In a message. */
const WORKERS_MAX = 64;

interface HeardAnswer {
  readonly seen: ReplicaConnections;
  readonly missing: readonly string[];
}

interface Asked {
  readonly waitsFor: Set<string>;
  readonly answers: HeardAnswer[];
  readonly answered: AbortController;
}

/** Asks the workers of this replica over the feed, those of the others by way of the bus between replicas. */
export function createPodConnectionsReader({
  questions,
  replicas,
  clock,
}: {
  readonly questions: Pick<WorkerQuestions, 'ask'>;
  readonly replicas: Replicas;
  readonly clock: Clock;
}): PodConnectionsReader & { run(signal: AbortSignal): Promise<void> } {
  const open = new Map<string, Asked>();
  let answering = 0;

  async function lookHere(uid: string): Promise<HeardAnswer> {
    const { answers, missing } = await questions.ask(uid);
    const told = answers.map(({ connections }) => connections).filter((each) => each !== null);
    const workers = answers.map(({ worker, connections }) => {
      const stanzas = Object.values(connections?.stanzas ?? {});
      const sum = (key: 'sessionsNow' | 'requestsNow') => stanzas.reduce((sofar, counts) => sofar + counts[key], 0);
      return { ...worker, sessionsNow: sum('sessionsNow'), requestsNow: sum('requestsNow') };
    });
    return {
      seen: { replica: replicas.id, ...mergePodConnections(told, clock.now()), workers: workers.slice(0, WORKERS_MAX) },
      missing: missing.map((worker) => `${workerText(worker)} of replica ${replicas.id}`),
    };
  }

  async function answer(to: string, id: string, uid: string): Promise<void> {
    if (answering >= ANSWERING_MAX) return;
    answering++;
    try {
      const { seen, missing } = await lookHere(uid);
      // As JSON, which is what the bus takes.
      replicas.publish('connections', JSON.parse(JSON.stringify({ to, id, seen, missing })) as Json);
    } finally {
      answering--;
    }
  }

  function heard(message: Json, from: string): void {
    if (!isFields(message) || typeof message['id'] !== 'string') return;
    const { id, uid, to, seen, missing } = message;
    if (typeof uid === 'string') void answer(from, id, uid);
    else if (to === replicas.id) {
      const asked = open.get(id);
      const parsed = parseAnswer(seen, missing, from);
      if (parsed === null || asked?.waitsFor.delete(from) !== true) return;
      asked.answers.push(parsed);
      if (asked.waitsFor.size === 0) asked.answered.abort();
    }
  }

  return {
    async read(uid): Promise<PodConnectionsReport> {
      const others = replicas.live().filter(({ id }) => id !== replicas.id);
      const id = randomUUID();
      const asked: Asked = {
        waitsFor: new Set(others.map((other) => other.id)),
        answers: [],
        answered: new AbortController(),
      };
      open.set(id, asked);
      if (others.length > 0) replicas.publish('connections', { id, uid });
      const here = await lookHere(uid);
      if (asked.waitsFor.size > 0) await pause(ANSWER_MS, asked.answered.signal);
      open.delete(id);
      const all = [here, ...asked.answers];
      return {
        replicas: all.map(({ seen }) => seen).toSorted((a, b) => (a.replica < b.replica ? -1 : 1)),
        missing: [...all.flatMap(({ missing }) => missing), ...[...asked.waitsFor].map((other) => `replica ${other}`)],
      };
    },

    async run(signal) {
      const stop = replicas.listen('connections', heard);
      await untilAborted(signal);
      stop();
    },
  };
}

function parseAnswer(seen: Json | undefined, missing: Json | undefined, from: string): HeardAnswer | null {
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
