import type { LookupAddress } from 'node:dns';
import { expect, test } from 'vitest';
import { createSharedLookup } from '../../../../control/store/redis/shared-lookup.ts';

const ADDRESS: LookupAddress = { address: '127.0.0.7', family: 4 };

test('connections that need a name while it is being resolved share the result; the next one resolves it again', async () => {
  const questions: PromiseWithResolvers<LookupAddress[]>[] = [];
  const lookup = createSharedLookup(() => {
    const question = Promise.withResolvers<LookupAddress[]>();
    questions.push(question);
    return question.promise;
  });
  const ask = (options: { readonly all?: boolean } = {}) =>
    new Promise((resolve) => {
      lookup('redis.test', options, (error, address, family) => resolve(error ?? [address, family]));
    });

  const first = [ask(), ask({ all: true })];
  expect(questions).toHaveLength(1);
  questions[0]?.resolve([ADDRESS]);
  expect(await Promise.all(first)).toEqual([
    ['127.0.0.7', 4],
    [[ADDRESS], undefined],
  ]);

  const unknown = new Error('not found');
  const second = [ask(), ask()];
  expect(questions).toHaveLength(2);
  questions[1]?.reject(unknown);
  expect(await Promise.all(second)).toEqual([unknown, unknown]);
});
