import { expect, test } from 'vitest';
import { type ConnectionQuestions, createWorkerQuestions } from '../../../control/workers/worker-questions.ts';
import type { PodConnections } from '../../../core/pod-connections.ts';

const SEEN: PodConnections = { sinceMs: 1, stanzas: {}, refusals: [], recent: [] };

test('the responses of all workers are merged; a worker that has seen nothing of the pod counts as having responded', async () => {
  const questions: ConnectionQuestions = createWorkerQuestions();
  const first = questions.join({ worker: 0 }, (id) => first.told(id, SEEN));
  const second = questions.join({ worker: 1 }, (id) => queueMicrotask(() => second.told(id, null)));
  expect(await questions.ask('uid')).toEqual({
    answers: [
      { worker: { worker: 0 }, answer: SEEN },
      { worker: { worker: 1 }, answer: null },
    ],
    missing: [],
  });
});

test('during a restart the old worker of a number is asked as well as the new one, because its sessions are draining', async () => {
  const questions: ConnectionQuestions = createWorkerQuestions();
  const old = questions.join({ worker: 0 }, (id) => old.told(id, SEEN));
  const young = questions.join({ worker: 0 }, (id) => young.told(id, null));
  expect((await questions.ask('uid')).answers.map(({ answer }) => answer)).toEqual([SEEN, null]);
  old.leave();
  expect((await questions.ask('uid')).answers.map(({ answer }) => answer)).toEqual([null]);
});

test('a worker that does not respond is named after a second; a worker that exits is not waited for', async () => {
  const questions: ConnectionQuestions = createWorkerQuestions();
  questions.join({ worker: 0 }, () => undefined);
  const leaving = questions.join({ worker: 1 }, () => undefined);
  const asked = questions.ask('uid');
  leaving.leave();
  const fromMs = performance.now();
  expect(await asked).toEqual({ answers: [], missing: [{ worker: 0 }] });
  expect(performance.now() - fromMs).toBeGreaterThan(900);
});

test('an unexpected response and a duplicate response are ignored', async () => {
  const questions: ConnectionQuestions = createWorkerQuestions();
  const one = questions.join({ worker: 0 }, (id) => {
    one.told(id + 1, SEEN);
    one.told(id, null);
    one.told(id, SEEN);
  });
  one.told(1, SEEN);
  expect(await questions.ask('uid')).toEqual({ answers: [{ worker: { worker: 0 }, answer: null }], missing: [] });
});

test('without workers the response is immediate', async () => {
  const questions: ConnectionQuestions = createWorkerQuestions();
  expect(await questions.ask('uid')).toEqual({ answers: [], missing: [] });
});

test('a worker of a release that does not know a question is missing at once, and is not asked', async () => {
  const questions: ConnectionQuestions = createWorkerQuestions();
  const young = questions.join({ worker: 0 }, (id) => young.told(id, SEEN));
  const old = questions.join({ worker: 1 }, null);
  const startedMs = performance.now();
  expect(await questions.ask('uid')).toEqual({
    answers: [{ worker: { worker: 0 }, answer: SEEN }],
    missing: [{ worker: 1 }],
  });
  expect(performance.now() - startedMs).toBeLessThan(900);
  old.leave();
  expect((await questions.ask('uid')).missing).toEqual([]);
});
