import { expect, test } from 'vitest';
import { createWorkerQuestions } from '../../../control/connections/worker-questions.ts';
import type { PodConnections } from '../../../core/pod-connections.ts';

const SEEN: PodConnections = { sinceMs: 1, stanzas: {}, refusals: [] };

test('the answers of all workers are put together; who has seen nothing of the pod has answered, too', async () => {
  const questions = createWorkerQuestions();
  questions.join(0, (id) => questions.told(0, id, SEEN));
  questions.join(1, (id) => queueMicrotask(() => questions.told(1, id, null)));
  expect(await questions.ask('uid')).toEqual({
    answers: [
      { worker: 0, connections: SEEN },
      { worker: 1, connections: null },
    ],
    missing: [],
  });
});

test('a worker that does not answer is named after a second; one that goes away is not waited for', async () => {
  const questions = createWorkerQuestions();
  questions.join(0, () => undefined);
  const leave = questions.join(1, () => undefined);
  const asked = questions.ask('uid');
  leave();
  const fromMs = performance.now();
  expect(await asked).toEqual({ answers: [], missing: [0] });
  expect(performance.now() - fromMs).toBeGreaterThan(900);
});

test('an answer to no question, a second one, and one by who was not asked count for nothing', async () => {
  const questions = createWorkerQuestions();
  questions.told(0, 1, SEEN);
  questions.join(0, (id) => {
    questions.told(7, id, SEEN);
    questions.told(0, id + 1, SEEN);
    questions.told(0, id, null);
    questions.told(0, id, SEEN);
  });
  expect(await questions.ask('uid')).toEqual({ answers: [{ worker: 0, connections: null }], missing: [] });
});

test('without workers the answer is there at once', async () => {
  expect(await createWorkerQuestions().ask('uid')).toEqual({ answers: [], missing: [] });
});
