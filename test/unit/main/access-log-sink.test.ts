import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAccessLogSink } from '../../../main/access-log-sink.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

let dir: string;
let file: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'podgate-access-log-'));
  file = join(dir, 'access.log');
});
afterEach(() => rmSync(dir, { recursive: true }));

const open = (changes: { maxFileBytes?: number; rotates?: boolean } = {}) =>
  openAccessLogSink({
    config: { to: 'file', file, maxFileBytes: changes.maxFileBytes ?? 1e9, keepFiles: 2 },
    rotates: changes.rotates ?? false,
    log: silentLog,
  });
const read = (path: string): string => readFileSync(path, 'utf8');

describe('the file of the access log', () => {
  it('has complete lines of all writers, in order, and is readable by its owner only', async () => {
    const sinks = [open(), open()];
    for (let number = 0; number < 5_000; number++)
      for (const [who, sink] of sinks.entries()) sink.write(`${who} ${number} ${'x'.repeat(200)}\n`);
    // Closing waits for half a second at most, which a busy machine may need for less than this.
    await until('most lines are written', () => statSync(file).size > 5_000 * 2 * 200);
    await Promise.all(sinks.map((sink) => sink.close()));
    const lines = read(file).trimEnd().split('\n');
    for (const who of [0, 1]) {
      const own = lines.filter((line) => line.startsWith(`${who} `));
      expect(own.map((line) => Number(line.split(' ')[1]))).toEqual(
        Array.from({ length: 5_000 }, (_, number) => number),
      );
    }
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(sinks.map(({ dropped }) => dropped)).toEqual([0, 0]);
  });

  it('is created again after it was moved away', async () => {
    const sink = open();
    sink.write('before\n');
    await until('it is there', () => read(file) === 'before\n');
    renameSync(file, `${file}.old`);
    await until('there is a new one', () => {
      sink.write('after\n');
      return read(file).startsWith('after\n');
    });
    await sink.close();
    expect(read(`${file}.old`)).toMatch(/^before\n(after\n)*$/);
  });

  it('is rotated by exactly one process when it is full, and a limited number of files is kept', async () => {
    const sinks = [open({ maxFileBytes: 1_000, rotates: true }), open({ maxFileBytes: 1_000 })];
    await until('there are two former ones', () => {
      for (const sink of sinks) sink.write(`${'x'.repeat(600)}\n`);
      return statSync(`${file}.2`).size > 1_000;
    });
    await Promise.all(sinks.map((sink) => sink.close()));
    expect(() => statSync(`${file}.3`)).toThrow();
  });

  it('does not affect the exit of the process when it could not be opened', () => {
    const sink = new URL('../../../main/access-log-sink.ts', import.meta.url).href;
    const config = { to: 'file', file: join(dir, 'nowhere', 'access.log'), maxFileBytes: 1e9, keepFiles: 2 };
    const source = `
      import { openAccessLogSink } from ${JSON.stringify(sink)};
      const log = { warn: () => undefined };
      openAccessLogSink({ config: ${JSON.stringify(config)}, rotates: false, log }).write('line');
      setTimeout(() => process.exit(), 400);`;
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });

  it('drops and counts lines when nothing reads them; a path that cannot be written blocks nothing', async () => {
    rmSync(dir, { recursive: true });
    const sink = open();
    for (let number = 0; number < 60_000; number++) sink.write(`${'x'.repeat(199)}\n`);
    expect(sink.dropped).toBeGreaterThan(30_000);
    expect(sink.dropped).toBeLessThan(60_000);
    await sink.close();
    const { mkdirSync } = await import('node:fs');
    mkdirSync(dir);
  });
});
