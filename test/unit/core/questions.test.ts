import { expect, test } from 'vitest';
import { Questions } from '../../../core/questions.ts';

/** Answers as told: `answers[party]` at every time it is asked. */
function parties(answers: Readonly<Record<string, readonly string[]>>) {
  const questions = new Questions<string, string>();
  const said: string[][] = [];
  return {
    questions,
    said,
    say: (id: number, asked: readonly string[]): boolean => {
      said.push([...asked]);
      for (const party of asked) {
        for (const answer of answers[party] ?? []) queueMicrotask(() => questions.answered(party, id, answer));
      }
      return true;
    },
  };
}

test('resolves as soon as all have answered, once each', async () => {
  const { questions, say } = parties({ a: ['one', 'two'], b: ['three'] });
  const replies = await questions.ask({ parties: () => ['a', 'b'], say, timeoutMs: 60_000 });
  expect([...replies.answers]).toEqual([
    ['a', 'one'],
    ['b', 'three'],
  ]);
  expect(replies).toMatchObject({ missing: [], isPartial: false });
});

test('names the parties that do not answer in time, and ignores parties that were not asked', async () => {
  const { questions, say } = parties({ a: ['one'], stranger: ['two'] });
  const replies = await questions.ask({
    parties: () => ['a', 'b'],
    say: (id, asked) => say(id, [...asked, 'stranger']),
    timeoutMs: 10,
  });
  expect([...replies.answers.keys()]).toEqual(['a']);
  expect(replies.missing).toEqual(['b']);
});

test('one answer that is enough ends the wait for the others', async () => {
  const { questions, say } = parties({ a: ['found'] });
  const replies = await questions.ask({
    ...{ parties: () => ['a', 'b'], say, timeoutMs: 60_000 },
    isEnough: (answer) => answer === 'found',
  });
  expect(replies.missing).toEqual(['b']);
});

test('asks those without a final answer again, and those that have come since', async () => {
  const { questions, say, said } = parties({ a: ['yes'], b: ['not yet'], c: ['yes'] });
  const here = ['a', 'b'];
  const ending = new AbortController();
  const replies = await questions.ask({
    parties: () => here,
    say(id, asked) {
      if (said.length === 1) here.push('c');
      if (said.length === 2) ending.abort();
      return say(id, asked);
    },
    ...{ timeoutMs: 60_000, repeatMs: 1, signal: ending.signal, isFinal: (answer) => answer === 'yes' },
  });
  expect(said[0]).toEqual(['a', 'b']);
  expect(said[1]).toEqual(['b']);
  expect(said[2]).toContain('c');
  expect(replies.answers.get('b')).toBe('not yet');
  expect(replies.missing).toContain('b');
});

test('parties that leave or cannot be reached are not waited for, and the replies are partial', async () => {
  const questions = new Questions<string, string>();
  const leaving = questions.ask({ parties: () => ['a'], say: () => true, timeoutMs: 60_000 });
  questions.left('a');
  expect(await leaving).toMatchObject({ missing: [], isPartial: true });
  const unreachable = await questions.ask({ parties: () => ['a'], say: () => false, timeoutMs: 60_000 });
  expect(unreachable).toMatchObject({ missing: [], isPartial: true });
});
