import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OutputLog } from '../../../spawner/orchestrator/process/output-log.ts';

describe('what a workload prints', () => {
  const MAX = 1_000;
  let directory: string;
  let log: OutputLog;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'podgate-log-'));
    log = new OutputLog(directory, MAX);
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, index) => `line ${from + index}\n`).join('');

  it('is nothing before it prints', () => {
    expect(log.tail(100)).toBe('');
    expect(log.fileMaxBytes).toBe(MAX / 2);
  });

  it('is its last whole lines, across the two files, never more than was asked for', () => {
    write('output.1.log', lines(0, 60));
    write('output.log', lines(60, 70));
    const printed = lines(0, 70).trimEnd().split('\n');
    for (const bytes of [1, 9, 30, 300, 10_000]) {
      const tail = log.tail(bytes);
      expect(Buffer.byteLength(tail)).toBeLessThanOrEqual(bytes);
      if (bytes < 10) continue;
      const seen = tail.trimEnd().split('\n');
      expect(seen).toEqual(printed.slice(-seen.length));
    }
    expect(log.tail(10_000)).toBe(lines(0, 70));
  });

  it('may be one endless line', () => {
    write('output.log', 'x'.repeat(500));
    expect(log.tail(50)).toBe('x'.repeat(50));
  });

  it('is nothing where a pod has put a pipe or a link', () => {
    execFileSync('mkfifo', [join(directory, 'output.log')]);
    symlinkSync('/etc/passwd', join(directory, 'output.1.log'));
    expect(() => log.tail(50)).toThrow('ELOOP');
    rmSync(join(directory, 'output.1.log'));
    expect(log.tail(50)).toBe('');
  });
});
