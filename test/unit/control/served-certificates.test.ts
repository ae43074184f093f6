import { expect, test } from 'vitest';
import { CertificateShelf, type CertificateChange } from '../../../control/workers/served-certificates.ts';

const shelved = (id: string, names: readonly string[], text = id) => ({
  id,
  names,
  certificatePem: text,
  privateKeyPem: 'key',
  notAfterMs: 2_000,
});

function watched(shelf: CertificateShelf) {
  const changes: CertificateChange[] = [];
  let readyTimes = 0;
  shelf.follow({
    changed: (change) => changes.push(change),
    challengesChanged: () => undefined,
    appliedChallenges: -1,
    becameReady: () => (readyTimes += 1),
  });
  return { changes, readyTimes: () => readyTimes };
}

test('nothing leaves it before every source has told what it has', () => {
  const shelf = new CertificateShelf(['files', 'development']);
  const { changes, readyTimes } = watched(shelf);
  shelf.replace('development', [shelved('a', ['a.test'])]);
  shelf.change('per-host', [shelved('b', ['b.test'])], []);
  expect([shelf.isReady, readyTimes(), changes.length]).toEqual([false, 0, 0]);
  shelf.replace('files', []);
  expect([shelf.isReady, readyTimes(), changes.length]).toEqual([true, 1, 0]);
  expect([...shelf.all()].map(({ names }) => names[0]).sort()).toEqual(['a.test', 'b.test']);
});

test('only what has changed is told, and sources leave each other alone', () => {
  const shelf = new CertificateShelf([]);
  const { changes } = watched(shelf);
  shelf.replace('development', [shelved('a', ['a.test']), shelved('b', ['b.test'])]);
  shelf.replace('per-host', [shelved('a', ['a.test'], 'another')]);
  changes.length = 0;
  shelf.replace('development', [shelved('a', ['a.test']), shelved('c', ['c.test'])]);
  expect(changes).toHaveLength(1);
  expect(changes[0]?.set.map(({ names }) => names[0])).toEqual(['c.test']);
  expect(changes[0]?.removed).toHaveLength(1);
  shelf.replace('development', [shelved('a', ['a.test']), shelved('c', ['c.test'])]);
  expect(changes).toHaveLength(1);
  expect(shelf.size).toBe(3);
});

test('which names the operator’s files cover, while they are valid', () => {
  const shelf = new CertificateShelf([]);
  shelf.replace('files', [shelved('a', ['*.pods.test', 'test'])]);
  const covered = ['test', 'a.pods.test', '*.pods.test', 'pods.test', 'b.a.pods.test'].filter((name) =>
    shelf.coverage(['files'], 1_000)(name),
  );
  expect(covered).toEqual(['test', 'a.pods.test', '*.pods.test']);
  expect(shelf.coverage(['files'], 2_000)('test')).toBe(false);
  expect(shelf.coverage(['per-host'], 1_000)('test')).toBe(false);
});
