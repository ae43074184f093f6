import { expect, it } from 'vitest';
import { groupsOf, parseProcMemory, parseProcStat } from '../../../spawner/orchestrator/process/metrics/proc-usage.ts';
import { parsePodMetrics, readPodMetrics } from '../../../spawner/orchestrator/kubernetes/pod-metrics.ts';

it('reads PodMetrics: the sum of the containers, whatever units they have', () => {
  const object = {
    metadata: { name: 'pods-dev-dev-mypg', labels: { 'podgate.io/uid': 'uid-1' } },
    timestamp: '2026-11-29T10:00:00Z',
    window: '1m2.5s',
    containers: [
      { name: 'pod', usage: { cpu: '12345678n', memory: '51200Ki' } },
      { name: 'other', usage: { cpu: '250m', memory: '1Mi' } },
    ],
  };
  const expected = { cpuMillis: 262, memoryBytes: 51 * 1024 * 1024, windowMs: 62_500 };
  expect(parsePodMetrics(object)).toEqual(['uid-1', { ...expected, measuredAtMs: Date.parse('2026-11-29T10:00:00Z') }]);
  const odd = { ...object, window: 'soon', containers: [{ usage: { cpu: '-1', memory: 'much' } }] };
  expect(parsePodMetrics(odd)?.[1]).toMatchObject({ cpuMillis: null, memoryBytes: null, windowMs: 0 });
  expect(parsePodMetrics({ ...object, metadata: {} })).toBeNull();
  expect(parsePodMetrics({ ...object, timestamp: 'now' })).toBeNull();
});

it.each([
  [403, /an operator must allow it \(list pods\.metrics\.k8s\.io/],
  [404, /an operator can install metrics-server/],
  [400, /does not answer now/],
])('says what is missing when the API server responds with %i', async (status, reason) => {
  const api = { request: async () => ({ status, text: '{}', serverTimeMs: null }) };
  const ref = { tenant: 'dev', podId: 'mypg', uid: 'uid-1' };
  const reading = await readPodMetrics({ api, namespace: 'pods', site: 'dev' }, [ref], new AbortController().signal);
  expect(reading).toMatchObject({ kind: 'unavailable', reason: expect.stringMatching(reason) as string });
});

it('reads /proc: CPU with that of ended children, memory without program files', () => {
  const stat = '42 (a (b) c) S 7 42 42 0 -1 4194304 1 2 3 4 150 50 30 20 20 0 1 0 12345 1 2';
  expect(parseProcStat(stat)).toEqual({ pid: 42, ppid: 7, pgrp: 42, cpuMs: 2_500 });
  expect(parseProcStat('')).toBeNull();
  const status = 'Name:\ta\nRssAnon:\t    2048 kB\nRssFile:\t 9999 kB\nRssShmem:\t  16 kB\n';
  expect(parseProcMemory(status)).toEqual({ ownBytes: 2_097_152, sharedBytes: 16_384 });
  expect(parseProcMemory('')).toEqual({ ownBytes: 0, sharedBytes: 0 });
});

it('finds what is in a process group or descends from it', () => {
  const line = (pid: number, ppid: number, pgrp: number) => ({ pid, ppid, pgrp });
  const lines = [
    line(10, 1, 10),
    line(11, 10, 10),
    line(12, 11, 12),
    line(13, 12, 13),
    line(20, 1, 20),
    line(30, 1, 30),
  ];
  const groups = groupsOf(lines, new Set([10, 20, 99]));
  expect([...(groups.get(10) ?? [])].toSorted()).toEqual([10, 11, 12, 13]);
  expect([...(groups.get(20) ?? [])]).toEqual([20]);
  expect(groups.has(99)).toBe(false);
});
