import { expect, test } from 'vitest';
import { lineForPeople } from '../../../main/logging.ts';

test('a human-readable line has the time, level, process, message and fields', () => {
  const line = {
    level: 40,
    time: '2026-11-23T20:15:02.123Z',
    part: 'worker 1',
    pid: 7,
    msg: 'it broke',
    podId: 'a',
    n: 2,
  };
  expect(lineForPeople(JSON.stringify(line))).toBe('20:15:02 WARN  worker 1: it broke  podId=a n=2');
});
