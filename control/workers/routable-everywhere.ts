import { randomUUID } from 'node:crypto';
import { pause } from '../../core/abort.ts';
import type { Clock } from '../../core/clock.ts';
import type { RoutableAnswer, RoutableQuestion, RouteFeed } from '../../core/feed-protocol.ts';
import type { Json, Replicas } from '../../core/replicas.ts';

/** Questions and answers may be lost. */
const REPEAT_MS = 500;
/** So long another replica waits for its workers before it says who is late. */
const ANSWER_MS = 2_000;
/** In one message. */
const MOST_AT_ONCE = 50;
/** Others' questions that are waited on here; asked again, one beyond finds its place later. */
const MOST_WAITING = 5_000;
const LAGGARDS_MAX = 20;
const TEXT_MAX_LENGTH = 300;

export interface RoutableEverywhere extends RouteFeed {
  /** Asks again, and answers the others, until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

interface Asked {
  readonly id: string;
  readonly question: RoutableQuestion;
  readonly hasAll: Set<string>;
  /** By replica: who was late there when it last answered. */
  readonly late: Map<string, readonly string[]>;
  wake: () => void;
}

/** One replica's answer: nobody late = its workers have the routes. */
interface Answer {
  readonly id: string;
  readonly late: readonly string[];
}

/**
 * Waits for the workers of every live replica: each waits on its own table and answers when its workers have applied
 * it. A replica that dies meanwhile is waited for until its heartbeats are missed.
 */
export function createRoutableEverywhere(options: {
  /** This replica's own. */
  readonly feed: RouteFeed;
  readonly replicas: Replicas;
  readonly clock: Clock;
}): RoutableEverywhere {
  const { feed, replicas, clock } = options;
  const open = new Map<string, Asked>();
  /** Ids of others' questions that are waited on. */
  const answering = new Set<string>();
  /** Answers that can wait for the next turn, by who asked. */
  const later = new Map<string, Answer[]>();

  function missing(asked: Asked): readonly string[] {
    const others = replicas.live().filter(({ id }) => id !== replicas.id && !asked.hasAll.has(id));
    return others.map(({ id }) => id);
  }

  function ask(all: readonly Asked[]): void {
    for (const piece of pieces(all)) {
      const questions = piece.map(({ id, question: { tenant, podId, uid, run } }) => ({ id, tenant, podId, uid, run }));
      replicas.publish('routable', { questions });
    }
  }

  function answer(to: string, answers: readonly Answer[]): void {
    for (const piece of pieces(answers)) {
      replicas.publish('routable', { to, answers: piece.map(({ id, late }) => ({ id, late })) });
    }
  }

  async function waitFor(from: string, id: string, question: RoutableQuestion): Promise<void> {
    if (answering.has(id) || answering.size >= MOST_WAITING) return;
    answering.add(id);
    const outcome = await feed.waitRoutable(question, ANSWER_MS);
    answering.delete(id);
    switch (outcome.kind) {
      case 'routable':
        answer(from, [{ id, late: [] }]);
        return;
      case 'ended':
        // Whoever asked sees that in its own table.
        return;
      case 'timeout':
        later.set(from, [...(later.get(from) ?? []), { id, late: outcome.laggards.slice(0, LAGGARDS_MAX) }]);
    }
  }

  function heard(message: Json, from: string): void {
    for (const { id, question } of parseQuestions(message)) void waitFor(from, id, question);
    for (const { id, late } of parseAnswers(message, replicas.id)) {
      const asked = open.get(id);
      if (asked === undefined) continue;
      if (late.length === 0) asked.hasAll.add(from);
      else asked.late.set(from, late);
      asked.wake();
    }
  }

  return {
    async waitRoutable(question, timeoutMs, signal): Promise<RoutableAnswer> {
      const asked: Asked = {
        id: randomUUID(),
        question,
        hasAll: new Set(),
        late: new Map(),
        wake: () => undefined,
      };
      const deadlineMs = clock.monotonicMs() + timeoutMs;
      open.set(asked.id, asked);
      try {
        if (missing(asked).length > 0) ask([asked]);
        const here = await feed.waitRoutable(question, timeoutMs, signal);
        const isAlone = replicas.live().length === 1;
        const named = (id: string, late: readonly string[]): string[] => late.map((who) => `${who} of replica ${id}`);
        const others = (): string[] => missing(asked).flatMap((id) => named(id, asked.late.get(id) ?? ['no answer']));
        if (here.kind === 'ended') return here;
        if (here.kind === 'timeout')
          return {
            kind: 'timeout',
            laggards: isAlone ? here.laggards : [...named(replicas.id, here.laggards), ...others()],
          };
        while (missing(asked).length > 0) {
          const leftMs = deadlineMs - clock.monotonicMs();
          if (leftMs <= 0 || signal?.aborted === true) return { kind: 'timeout', laggards: others() };
          const answered = new AbortController();
          asked.wake = () => answered.abort();
          const woken = signal === undefined ? answered.signal : AbortSignal.any([answered.signal, signal]);
          await pause(Math.min(leftMs, REPEAT_MS), woken);
        }
        return here;
      } finally {
        open.delete(asked.id);
      }
    },

    async run(signal) {
      const stop = replicas.listen('routable', heard);
      while (!signal.aborted) {
        await pause(REPEAT_MS, signal);
        ask([...open.values()].filter((asked) => missing(asked).length > 0));
        for (const [to, answers] of later) answer(to, answers);
        later.clear();
      }
      stop();
    },
  };
}

function pieces<T>(items: readonly T[]): readonly (readonly T[])[] {
  const count = Math.ceil(items.length / MOST_AT_ONCE);
  return Array.from({ length: count }, (_, at) => items.slice(at * MOST_AT_ONCE, (at + 1) * MOST_AT_ONCE));
}

function parseQuestions(message: Json): readonly { readonly id: string; readonly question: RoutableQuestion }[] {
  return listIn(message, 'questions').flatMap((entry) => {
    const [id, tenant, podId, uid] = ['id', 'tenant', 'podId', 'uid'].map((name) => textIn(entry, name));
    const run = fieldOf(entry, 'run');
    if (id === undefined || tenant === undefined || podId === undefined || uid === undefined) return [];
    return typeof run === 'number' ? [{ id, question: { tenant, podId, uid, run } }] : [];
  });
}

function parseAnswers(message: Json, to: string): readonly Answer[] {
  if (fieldOf(message, 'to') !== to) return [];
  return listIn(message, 'answers').flatMap((entry) => {
    const id = textIn(entry, 'id');
    const late = fieldOf(entry, 'late');
    if (id === undefined || !Array.isArray(late)) return [];
    const names = late.slice(0, LAGGARDS_MAX).filter((name): name is string => typeof name === 'string');
    // Whoever is late under a name that we cannot read is late.
    if (names.length === 0 && late.length > 0) return [{ id, late: ['somebody'] }];
    return [{ id, late: names.map((name) => name.slice(0, TEXT_MAX_LENGTH)) }];
  });
}

function listIn(message: Json, name: string): readonly Json[] {
  const list = fieldOf(message, name);
  return Array.isArray(list) ? (list as readonly Json[]).slice(0, MOST_AT_ONCE) : [];
}

function textIn(value: Json, name: string): string | undefined {
  const text = fieldOf(value, name);
  return typeof text === 'string' && text.length <= TEXT_MAX_LENGTH ? text : undefined;
}

function fieldOf(value: Json, name: string): Json | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, name) ? (value as Readonly<Record<string, Json>>)[name] : undefined;
}
