import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
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

  const write = (name: string, text: string | Uint8Array) => writeFileSync(join(directory, name), text);
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, index) => `line ${from + index}\n`).join('');

  it('is nothing before it prints', () => {
    expect(log.tail(100)).toBe('');
    expect(log.fileMaxBytes).toBe(MAX / 2);
  });

  it('is read on behind a mark, across what becomes the older file, and from the beginning where that is lost', () => {
    const read = (mark: string, mostBytes = 1_000) => log.after({ mark, mostBytes });
    expect(read('')).toEqual({ text: '', mark: '', isAll: true });
    write('output.log', lines(0, 3));
    const first = read('');
    expect(first).toMatchObject({ text: lines(0, 3), isAll: true });
    expect(read(first.mark)).toMatchObject({ text: '', mark: first.mark, isAll: true });
    write('output.log', lines(0, 5));
    renameSync(join(directory, 'output.log'), join(directory, 'output.1.log'));
    write('output.log', lines(5, 7));
    const second = read(first.mark);
    expect(second).toMatchObject({ text: lines(3, 5), isAll: false });
    const third = read(second.mark);
    expect(third).toMatchObject({ text: lines(5, 7), isAll: true });
    expect(read('0:0').text).toBe(lines(0, 5));
    // Never a part of a character.
    write('output.log', `${lines(5, 7)}aä€`);
    const parts: string[] = [];
    for (let { mark } = third, count = 0; count < 4; count++) {
      const part = read(mark, 3);
      parts.push(part.text);
      mark = part.mark;
    }
    expect(parts).toEqual(['aä', '€', '', '']);
    const [byte] = Buffer.from('€');
    write('output.log', Buffer.concat([Buffer.from(lines(5, 7)), Buffer.from([byte ?? 0])]));
    expect(read(third.mark)).toMatchObject({ text: '', mark: third.mark, isAll: true });
  });

  it('is read from its beginning where a mark has been made up', () => {
    write('output.log', lines(0, 3));
    const [inode = ''] = log.after({ mark: '', mostBytes: 1_000 }).mark.split(':');
    for (const offset of ['-5', '0.5', '1e9', 'x', '', '1:2']) {
      const { text } = log.after({ mark: `${inode}:${offset}`, mostBytes: 1_000 });
      expect([offset, lines(0, 3).endsWith(text)]).toEqual([offset, true]);
    }
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
