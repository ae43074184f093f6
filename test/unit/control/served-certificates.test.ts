import { expect, test } from 'vitest';
import { ServedCertificates, type CertificateChange } from '../../../control/workers/served-certificates.ts';

const certificateOf = (id: string, names: readonly string[], text = id) => ({
  id,
  names,
  certificatePem: text,
  privateKeyPem: 'key',
  notAfterMs: 2_000,
});

function watched(served: ServedCertificates) {
  const changes: CertificateChange[] = [];
  let readyTimes = 0;
  served.follow({
    changed: (change) => changes.push(change),
    challengesChanged: () => undefined,
    appliedChallenges: -1,
    becameReady: () => (readyTimes += 1),
  });
  return { changes, readyTimes: () => readyTimes };
}

test('it sends nothing before every source has reported', () => {
  const served = new ServedCertificates(['files', 'development']);
  const { changes, readyTimes } = watched(served);
  served.replace('development', [certificateOf('a', ['a.test'])]);
  served.change('per-host', [certificateOf('b', ['b.test'])], []);
  expect([served.isReady, readyTimes(), changes.length]).toEqual([false, 0, 0]);
  served.replace('files', []);
  expect([served.isReady, readyTimes(), changes.length]).toEqual([true, 1, 0]);
  expect([...served.all()].map(({ names }) => names[0]).sort()).toEqual(['a.test', 'b.test']);
});

test('only changes are sent, and sources do not affect each other', () => {
  const served = new ServedCertificates([]);
  const { changes } = watched(served);
  served.replace('development', [certificateOf('a', ['a.test']), certificateOf('b', ['b.test'])]);
  served.replace('per-host', [certificateOf('a', ['a.test'], 'another')]);
  changes.length = 0;
  served.replace('development', [certificateOf('a', ['a.test']), certificateOf('c', ['c.test'])]);
  expect(changes).toHaveLength(1);
  expect(changes[0]?.set.map(({ names }) => names[0])).toEqual(['c.test']);
  expect(changes[0]?.removed).toHaveLength(1);
  served.replace('development', [certificateOf('a', ['a.test']), certificateOf('c', ['c.test'])]);
  expect(changes).toHaveLength(1);
  expect(served.size).toBe(3);
});

test('it knows which names the operator’s files cover, while they are valid', () => {
  const served = new ServedCertificates([]);
  served.replace('files', [certificateOf('a', ['*.pods.test', 'test'])]);
  const covered = ['test', 'a.pods.test', '*.pods.test', 'pods.test', 'b.a.pods.test'].filter((name) =>
    served.coverage(['files'], 1_000)(name),
  );
  expect(covered).toEqual(['test', 'a.pods.test', '*.pods.test']);
  expect(served.coverage(['files'], 2_000)('test')).toBe(false);
  expect(served.coverage(['per-host'], 1_000)('test')).toBe(false);
});
