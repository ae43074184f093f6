import { rename, stat } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { pino } from 'pino';
import type { AccessLogConfig } from '../config/config.ts';
import { pause } from '../core/abort.ts';
import { errorText } from '../core/errors.ts';
import { setGuardedInterval } from '../core/guarded-timer.ts';
import type { Logger } from '../core/logger.ts';

/** Lines wait at most so long to be written together. */
const GATHER_MS = 200;
/** Lines in one write: of a file some dozens; of a pipe what several processes can write without mixing (PIPE_BUF). */
const FILE_WRITE_BYTES = 64 * 1024;
const PIPE_WRITE_BYTES = 4 * 1024;
/** With more unwritten, the disk or the reader is too slow: lines are dropped and counted. */
const UNWRITTEN_MAX_BYTES = 4 * 1024 * 1024;
const LOOK_MS = 1_000;
const COMPLAIN_EVERY_MS = 60_000;
const CLOSE_MS = 500;

export interface AccessLogSink {
  write(line: string): void;
  /** Lines that were dropped. */
  readonly dropped: number;
  /** Writes what is left, for half a second at most. */
  close(): Promise<void>;
}

export interface AccessLogSinkOptions {
  readonly config: AccessLogConfig;
  /** One of the processes that write the same file moves it away when it is full. */
  readonly rotates: boolean;
  readonly log: Logger;
}

/**
 * Buffers the lines of the access log (ASCII) and writes them in the background: a slow disk costs neither event-loop time
 * nor memory. When the file is moved away (by logrotate, or by the process that rotates), every process reopens it within a
 * second.
 */
export function openAccessLogSink({ config, rotates, log }: AccessLogSinkOptions): AccessLogSink {
  const { file, maxFileBytes, keepFiles } = config;
  const isFile = config.to === 'file';
  const writeBytes = isFile ? FILE_WRITE_BYTES : PIPE_WRITE_BYTES;
  const destination = pino.destination({
    dest: isFile ? file : 1,
    sync: false,
    mkdir: false,
    mode: 0o600,
    maxWrite: writeBytes,
    maxLength: UNWRITTEN_MAX_BYTES,
    contentMode: 'buffer',
  });
  // Pino calls it at the exit of the process, where it throws if the file could never be opened.
  const flushSync = destination.flushSync.bind(destination);
  destination.flushSync = () => {
    if (isOpen) flushSync();
  };
  const gathered = Buffer.allocUnsafeSlow(writeBytes);
  let gatheredBytes = 0;
  let gatheredLines = 0;
  let writing = 0;
  let dropped = 0;
  let inode: number | null = null;
  let isOpen = !isFile;
  let complainedMs = -Infinity;
  /** While there are lines to hand over. */
  let gathering: NodeJS.Timeout | undefined;

  const handOver = (): void => {
    clearTimeout(gathering);
    gathering = undefined;
    if (gatheredLines === 0) return;
    const bytes = Buffer.from(gathered.subarray(0, gatheredBytes));
    writing = gatheredLines;
    gatheredBytes = 0;
    gatheredLines = 0;
    try {
      // In this mode it takes buffers, which its types do not know: strings would be flattened and encoded once more.
      destination.write(bytes as unknown as string);
    } catch {
      // Closed already: this is called from the data path, which must not fail for a line of a log.
      dropped += writing;
    }
  };
  // Told within `write`.
  destination.on('drop', () => (dropped += writing));
  destination.on('error', (error: Error) => {
    const nowMs = performance.now();
    if (nowMs - complainedMs < COMPLAIN_EVERY_MS) return;
    complainedMs = nowMs;
    log.warn({ error: errorText(error) }, 'failed to write the access log');
  });
  destination.on('ready', () => {
    if (!isFile) return;
    void stat(file).then(
      ({ ino }) => {
        inode = ino;
        isOpen = true;
      },
      () => undefined,
    );
  });

  async function look(): Promise<void> {
    try {
      const { ino, size } = await stat(file);
      if (rotates && ino === inode && size > maxFileBytes) await moveAway(file, keepFiles);
      else if (isOpen && ino === inode) return;
    } catch {
      // It was moved away, or could not be opened.
    }
    isOpen = false;
    try {
      destination.reopen();
    } catch (error) {
      destination.emit('error', error);
    }
  }

  const looking = isFile
    ? setGuardedInterval({ everyMs: LOOK_MS, work: () => void look(), name: 'the access log', log }).unref()
    : undefined;

  return {
    write(line) {
      if (gatheredBytes + line.length > writeBytes) handOver();
      gatheredBytes += gathered.write(line, gatheredBytes, 'latin1');
      gatheredLines++;
      gathering ??= setTimeout(handOver, GATHER_MS).unref();
    },
    get dropped() {
      return dropped;
    },
    async close() {
      // The last connections are logged in this turn of the event loop.
      await nextTurn();
      looking?.stop();
      handOver();
      const closed = new AbortController();
      destination.once('close', () => closed.abort());
      destination.end();
      await pause(CLOSE_MS, closed.signal);
    },
  };
}

/** access.log becomes access.log.1, that .2, and so on; the last is gone. */
async function moveAway(file: string, keepFiles: number): Promise<void> {
  for (let number = keepFiles; number > 0; number--) {
    const older = number === 1 ? file : `${file}.${number - 1}`;
    await rename(older, `${file}.${number}`).catch(() => undefined);
  }
}
