import { untilAborted } from '../../core/abort.ts';
import type { RoutableAnswer, RoutableQuestion, RouteFeed } from '../../core/feed-protocol.ts';
import type { Json, Replicas } from '../../core/replicas.ts';
import { fieldOf, ReplicaQuestions } from './ask-replicas.ts';

const REPEAT_MS = 500;
/** Another replica waits this long for its workers before it says who is late. */
const ANSWER_MS = 2_000;
/** Others' questions that are waited on here; one beyond gets its turn when it is repeated. */
const ANSWERING_MAX = 5_000;
const LAGGARDS_MAX = 20;
const TEXT_MAX_LENGTH = 300;

export interface RoutableEverywhere extends RouteFeed {
  /** Answers the other replicas until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** Workers of one replica that are late; none: its workers have the routes. */
type Late = readonly string[];

/**
 * Waits for the workers of every live replica: each waits on its own table and answers when its workers have applied
 * it. A replica that dies meanwhile is waited for until its heartbeats are missed.
 */
export function createRoutableEverywhere(options: {
  /** This replica's own. */
  readonly feed: RouteFeed;
  readonly replicas: Replicas;
}): RoutableEverywhere {
  const { feed, replicas } = options;
  const questions = new ReplicaQuestions<RoutableQuestion, Late>({
    replicas,
    topic: 'routable',
    parseQuestion,
    parseAnswer: parseLate,
    answeringMax: ANSWERING_MAX,
    repeatMs: REPEAT_MS,
    isFinal: (late) => late.length === 0,
  });

  async function answer(question: RoutableQuestion): Promise<Late | null> {
    const outcome = await feed.waitRoutable(question, ANSWER_MS);
    switch (outcome.kind) {
      case 'routable':
        return [];
      case 'ended':
        // The replica that asks sees that in its own table.
        return null;
      case 'timeout':
        return outcome.laggards.slice(0, LAGGARDS_MAX);
    }
  }

  return {
    async waitRoutable({ tenant, podId, uid, run }, timeoutMs, signal): Promise<RoutableAnswer> {
      const question = { tenant, podId, uid, run };
      const deadlineMs = performance.now() + timeoutMs;
      const noLonger = new AbortController();
      const ending = signal === undefined ? noLonger.signal : AbortSignal.any([noLonger.signal, signal]);
      const everywhere = questions.ask(question, { timeoutMs, signal: ending });
      const here = await feed.waitRoutable(question, timeoutMs, signal);
      if (here.kind !== 'routable') noLonger.abort();
      let { answers, missing } = await everywhere;
      const hasNewcomer = replicas.live().some(({ id }) => id !== replicas.id && !answers.has(id));
      if (here.kind === 'routable' && missing.length === 0 && hasNewcomer) {
        // It started after all others had answered.
        const leftMs = deadlineMs - performance.now();
        ({ answers, missing } = await questions.ask(question, { timeoutMs: leftMs, signal }));
      }
      if (here.kind === 'ended') return here;
      const named = (id: string, late: Late): string[] => late.map((worker) => `${worker} of replica ${id}`);
      const others = missing.flatMap((id) => named(id, answers.get(id) ?? ['no answer']));
      if (here.kind === 'routable') return others.length === 0 ? here : { kind: 'timeout', laggards: others };
      const isAlone = replicas.live().length === 1;
      return {
        kind: 'timeout',
        laggards: isAlone ? here.laggards : [...named(replicas.id, here.laggards), ...others],
      };
    },

    async run(signal) {
      const stop = questions.listen(answer);
      await untilAborted(signal);
      stop();
    },
  };
}

function parseQuestion(value: Json): RoutableQuestion | null {
  const [tenant, podId, uid] = ['tenant', 'podId', 'uid'].map((name) => textIn(value, name));
  const run = fieldOf(value, 'run');
  if (tenant === undefined || podId === undefined || uid === undefined || typeof run !== 'number') return null;
  return { tenant, podId, uid, run };
}

function parseLate(value: Json): Late | null {
  if (!Array.isArray(value)) return null;
  const names = value.slice(0, LAGGARDS_MAX).filter((name): name is string => typeof name === 'string');
  // A worker whose name we cannot read is late all the same.
  if (names.length === 0 && value.length > 0) return ['somebody'];
  return names.map((name) => name.slice(0, TEXT_MAX_LENGTH));
}

function textIn(value: Json, name: string): string | undefined {
  const text = fieldOf(value, name);
  return typeof text === 'string' && text.length <= TEXT_MAX_LENGTH ? text : undefined;
}
