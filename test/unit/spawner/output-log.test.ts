import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
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

  const bytesOnDisk = () => readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);

  it('is nothing before it prints', () => {
    log.bound();
    expect(log.tail(100)).toBe('');
  });

  it('is its last whole lines, across the two files, never more than was asked for', () => {
    const printed: string[] = [];
    for (let line = 0; line < 500; line += 1) {
      printed.push(`line ${line}`);
      appendFileSync(log.path, `line ${line}\n`);
      log.bound();
      expect(bytesOnDisk()).toBeLessThanOrEqual(MAX + 10);
      for (const bytes of [1, 9, 30, 300, 10_000]) {
        const tail = log.tail(bytes);
        expect(Buffer.byteLength(tail)).toBeLessThanOrEqual(bytes);
        if (bytes < 10) continue;
        const lines = tail.trimEnd().split('\n');
        expect(lines).toEqual(printed.slice(-lines.length));
      }
    }
    expect(log.tail(10_000).length).toBeGreaterThan(MAX / 3);
  });

  it('may be one endless line', () => {
    for (let part = 0; part < 50; part += 1) {
      appendFileSync(log.path, 'x'.repeat(100));
      log.bound();
    }
    expect(bytesOnDisk()).toBeLessThanOrEqual(MAX);
    expect(log.tail(50)).toBe('x'.repeat(50));
  });
});
