import { describe, expect, test } from 'vitest';

import { preconditionOf } from '../../../control/http/if-match.ts';
import { parseRequestTarget } from '../../../control/http/request-path.ts';
import { type ApiErrorCode, HTTP_STATUS } from '../../../control/http/status-codes.ts';
import { alphanumericSecret } from '../../../control/resources/pods/alphanumeric-secret.ts';
import { KeyedMutex } from '../../../control/objects/keyed-mutex.ts';
import { actionLine } from '../../../core/action-log.ts';
import { ERRORS } from '../../../core/errors.ts';
import { podPut } from '../../../core/pod-put.ts';
import { podRecord } from '../../support/pod-records.ts';

describe('a request target', () => {
  test.each([
    ['/v3/pods', '/pods', ''],
    ['/pods', '/pods', ''],
    ['/v3', '/', ''],
    ['/v3/', '/', ''],
    ['/', '/', ''],
    ['//v3///pods//', '/pods', ''],
    ['/v30/pods', '/v30/pods', ''],
    ['/v3/v3/pods', '/v3/pods', ''],
    ['/pods/a%2Fb', '/pods/a%2Fb', ''],
    ['/pods?wait=routable', '/pods', 'wait=routable'],
    ['/pods?a=//x', '/pods', 'a=%2F%2Fx'],
    ['http://localhost:8000/v3/pods?a=b', '/pods', 'a=b'],
    ['*', '/', ''],
    ['nonsense', '/', ''],
  ])('%s is the path %s and the query "%s"', (target, path, query) => {
    const parsed = parseRequestTarget(target);
    expect([parsed.path, parsed.query.toString()]).toEqual([path, query]);
  });

  test.each(['/%', '/%zz', '/%ff', '/pods/%c3%28'])('%s cannot be decoded', (target) => {
    expect(() => parseRequestTarget(target)).toThrow('cannot be decoded');
  });

  test.each(['/pods?a=%ff', '/pods?a=%ed%a0%80', '/pods?%c3%28=a', '/pods?a=%ef%bf%bd%ff'])(
    'the query of %s is not UTF-8',
    (target) => {
      expect(() => parseRequestTarget(target)).toThrow('not valid UTF-8');
    },
  );
  test('U+FFFD itself and a percent sign may be in a query', () => {
    expect(parseRequestTarget('/pods?a=%EF%bf%bd&b=100%').query.toString()).toBe('a=%EF%BF%BD&b=100%25');
  });
});

test('If-Match compares the generation', () => {
  expect(preconditionOf(undefined)(7)).toBe(true);
  expect(preconditionOf(' * ')(7)).toBe(true);
  expect(preconditionOf('"6" ,"7"')(7)).toBe(true);
  expect(preconditionOf('"70"')(7)).toBe(false);
  expect(preconditionOf('W/"7"')(7)).toBe(false);
  for (const nonsense of ['', '7', '"7', '"7" "8"', '"7",', 'w/"7"']) {
    expect(() => preconditionOf(nonsense), nonsense).toThrow('If-Match');
  }
});

test('every reason has a status that shows whose fault it is', () => {
  for (const [code, status] of Object.entries(HTTP_STATUS)) {
    const { fault } = ERRORS[code as ApiErrorCode];
    expect([code, status >= 500 ? 'ours' : 'theirs']).toEqual([code, fault === 'client' ? 'theirs' : 'ours']);
  }
});

test('a line of action_logs is one line, stamped in UTC, and bounded', () => {
  const atMs = Date.parse('2024-03-08T23:59:59.999Z');
  expect(actionLine(atMs, 'health set status to RUNNING')).toBe('24/03/08 23:59: health set status to RUNNING');
  expect(actionLine(atMs, ' a\r\nb\u0000\u001b[31mc\u2028d\n')).toBe('24/03/08 23:59: a b [31mc d');
  expect(actionLine(atMs, 'x'.repeat(5_000))).toHaveLength('24/03/08 23:59: '.length + 1_000);
});

test('the put of a pod is found by all its users and by its creator, and for its quota alone once it is being deleted', () => {
  const record = podRecord({ createdBy: 'alice', permissions: { bob: 'ADMIN', carol: 'READ' } });
  expect(podPut(record, 3)).toEqual({
    kind: 'pod',
    key: 'default/mypod',
    expected: 3,
    value: record,
    tenant: 'default',
    indexes: ['user:bob', 'user:carol', 'owner:alice'],
  });
  expect(podPut({ ...record, deleting: { keepVolume: false } }, 3).indexes).toEqual(['owner:alice']);
});

test('a secret uses exactly the given alphabet, each letter with equal probability', () => {
  const everyByte = (size: number) => Uint8Array.from({ length: size }, (_, index) => index % 256);
  const secret = alphanumericSecret(248 * 4, everyByte);
  const counts = new Map<string, number>();
  for (const letter of secret) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  expect(counts.size).toBe(62);
  expect(Math.max(...counts.values()) - Math.min(...counts.values())).toBeLessThanOrEqual(4);
  expect(alphanumericSecret(30, everyByte)).toMatch(/^[A-Za-z0-9]{30}$/);
});

test('the mutex admits one at a time per key, in order, independent of other keys, and the next after a failure', async () => {
  const mutex = new KeyedMutex();
  const events: string[] = [];
  const gate = Promise.withResolvers<undefined>();
  const first = mutex.run('a', async () => {
    events.push('first in');
    await gate.promise;
    events.push('first out');
    throw new Error('it failed');
  });
  const second = mutex.run('a', async () => {
    events.push('second');
    return 2;
  });
  await mutex.run('b', async () => events.push('other'));
  expect(events).toEqual(['first in', 'other']);
  gate.resolve(undefined);
  await expect(first).rejects.toThrow('it failed');
  expect(await second).toBe(2);
  expect(events).toEqual(['first in', 'other', 'first out', 'second']);
});
