import { describe, expect, it } from 'vitest';
import { linesAfter, wholeSecond } from '../../../spawner/orchestrator/kubernetes/printed-lines.ts';

const LOG = [
  '2026-11-28T13:00:00.000000001Z one\n',
  '2026-11-28T13:00:00.000000002Z 2026-11-28T13:00:00Z printed by the pod\n',
  '2026-11-28T15:00:00.1+02:00 three\n',
  '2026-11-28T13:00:01Z four, unfinished',
].join('');

describe('what was printed after a time', () => {
  it('is all without one, and the times are ours alone to read', () => {
    expect(linesAfter(LOG, '')).toEqual({
      text: 'one\n2026-11-28T13:00:00Z printed by the pod\nthree\nfour, unfinished',
      until: '2026-11-28T13:00:01Z',
    });
  });

  it('begins after the line of that time, to the nanosecond and in any time zone', () => {
    expect(linesAfter(LOG, '2026-11-28T13:00:00.000000002Z').text).toBe('three\nfour, unfinished');
    expect(linesAfter(LOG, '2026-11-28T13:00:00.100Z').text).toBe('four, unfinished');
    expect(linesAfter(LOG, '2026-11-28T12:59:59Z').text).toMatch(/^one\n/);
  });

  it('is nothing, up to the same time, when nothing is new', () => {
    expect(linesAfter(LOG, '2026-11-28T13:00:01Z')).toEqual({ text: '', until: '2026-11-28T13:00:01Z' });
    expect(linesAfter('', '2026-11-28T13:00:01Z')).toEqual({ text: '', until: '2026-11-28T13:00:01Z' });
  });

  it('is asked for in whole seconds', () => {
    expect(wholeSecond('2026-11-28T13:00:00.123456789+01:00')).toBe('2026-11-28T13:00:00+01:00');
  });
});
