import { type DestinationStream, pino } from 'pino';
import type { Logger } from '../core/logger.ts';

/** pino's numbers. */
const LEVELS: Readonly<Record<number, string>> = { 20: 'debug', 30: 'info', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' };
const LEFT_OUT: ReadonlySet<string> = new Set(['level', 'time', 'msg', 'part', 'pid']);

/** Structured lines on stderr, for people where that is a terminal. `part` says which process it is. */
export function createLogger(part: string, isTerminal: boolean): Logger {
  const options = { base: { part, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime };
  if (isTerminal) return pino(options, forPeople());
  const destination = pino.destination({ fd: 2, sync: true });
  // The reader of our output is gone: no reason to stop working.
  destination.on('error', () => undefined);
  return pino(options, destination);
}

function forPeople(): DestinationStream {
  return {
    write(line) {
      process.stderr.write(`${lineForPeople(line)}\n`);
    },
  };
}

/** `20:15:02 WARN  worker 1: what happened  key=value`, from one of pino's lines. */
export function lineForPeople(line: string): string {
  const entry = JSON.parse(line) as Record<string, unknown> & { level: number; time: string; msg: string };
  const fields = Object.entries(entry)
    .filter(([name]) => !LEFT_OUT.has(name))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const level = (LEVELS[entry.level] ?? String(entry.level)).padEnd(5);
  const time = entry.time.slice(11, 19);
  const tail = fields.length === 0 ? '' : `  ${fields.join(' ')}`;
  return `${time} ${level} ${String(entry['part'])}: ${entry.msg}${tail}`;
}
