import { describe, expect, it } from 'vitest';
import { type Belonging, membersOf } from '../../../spawner/orchestrator/process/belonging.ts';
import { parsePsLine, parseStat, type ProcessInfo } from '../../../spawner/orchestrator/process/process-table.ts';

const SELF = 99;

function process(pid: number, change: Partial<ProcessInfo> = {}): ProcessInfo {
  return { pid, start: `s${pid}`, ppid: 1, pgrp: pid, isZombie: false, uids: [1000, 1000, 1000], ...change };
}

function members(processes: ProcessInfo[], change: Partial<Belonging> = {}, markers: Record<number, string> = {}) {
  const belonging: Belonging = {
    markerPrefix: 'inst/uid/',
    osUid: null,
    leader: null,
    known: new Map(),
    recognises: null,
    ...change,
  };
  return membersOf(processes, belonging, ({ pid }) => markers[pid] ?? null, SELF).map(({ pid }) => pid);
}

describe('the processes of a workload', () => {
  const leader = { pid: 10, start: 's10' };

  it('are those with its marker, of any generation or run, and no others', () => {
    const markers = { 10: 'inst/uid/1/1', 11: 'inst/uid/2/7', 12: 'inst/uid2/1/1', 13: 'other/uid/1/1' };
    expect(
      members(
        [10, 11, 12, 13, 14].map((pid) => process(pid)),
        {},
        markers,
      ),
    ).toEqual([10, 11]);
  });

  it('are those of its leader and its group while the leader lives', () => {
    const group = [process(10), process(11, { pgrp: 10 }), process(12)];
    expect(members(group, { leader })).toEqual([10, 11]);
  });

  it('do not include reused pids or groups', () => {
    const reused = [process(10, { start: 'later' }), process(11, { pgrp: 10 })];
    expect(members(reused, { leader, known: new Map([[11, 'earlier']]) })).toEqual([]);
  });

  it('are those that run as its user, really, effectively or saved', () => {
    const processes = [
      process(10, { uids: [5, 5, 5] }),
      process(11, { uids: [0, 5, 0] }),
      process(12, { uids: [5, 0, 0] }),
      process(13, { uids: [0, 0, 0] }),
    ];
    expect(members(processes, { osUid: 5 })).toEqual([10, 11, 12]);
  });

  it('are their descendants too, however the list is ordered', () => {
    const processes = [process(13, { ppid: 12 }), process(12, { ppid: 11 }), process(11, { ppid: 10 }), process(10)];
    expect(members(processes, { leader }).toSorted()).toEqual([10, 11, 12, 13]);
  });

  it('are those known before and those the recipe recognises', () => {
    const known = new Map([[11, 's11']]);
    expect(members([process(11), process(12), process(13)], { known, recognises: (pid) => pid === 12 })).toEqual([
      11, 12,
    ]);
  });

  it('are never ourselves, the first process of the machine, or what has ended', () => {
    const processes = [process(1), process(SELF), process(10, { isZombie: true }), process(11, { ppid: 10 })];
    const markers = { 1: 'inst/uid/1/1', [SELF]: 'inst/uid/1/1', 10: 'inst/uid/1/1' };
    expect(members(processes, { osUid: 1000 }, markers)).toEqual([11]);
  });
});

describe('reading the process table', () => {
  const rest = '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16';

  it('parses a name with spaces and brackets', () => {
    expect(parseStat(`42 (a ) S 9 (b)) S 7 42 42 ${rest.slice(4)} 123456 99 \n`)).toMatchObject({
      pid: 42,
      ppid: 7,
      pgrp: 42,
      isZombie: false,
    });
  });

  it('finds the start time in field 22', () => {
    const fields = Array.from({ length: 52 }, (_, index) => String(index + 1));
    fields[1] = '(sh)';
    fields[2] = 'Z';
    expect(parseStat(fields.join(' '))).toEqual({ pid: 1, start: '22', ppid: 4, pgrp: 5, isZombie: true });
  });

  it.each(['', '42', '42 (sh', '42 (sh)', '42 (sh) S 1 2', 'x (sh) S'])('rejects %j', (text) => {
    expect(parseStat(text)).toBeNull();
  });

  it('parses the output of ps', () => {
    expect(parsePsLine('  501   1   501   502  503 Ss   Mon Nov 23 20:00:00 2026 ')).toEqual({
      pid: 501,
      ppid: 1,
      pgrp: 501,
      uids: [502, 503],
      isZombie: false,
      start: 'Mon Nov 23 20:00:00 2026',
    });
    expect(parsePsLine('')).toBeNull();
  });
});
