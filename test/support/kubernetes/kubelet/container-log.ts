/** containerLogMaxSize of the kubelet: then the log goes on in a new file, and only that one is served. */
const BYTES_MAX = 10 * 1024 * 1024;
/** Of each line in the file: time, stream and tag. */
const LINE_OVERHEAD_BYTES = 45;
/** Of a termination message that is taken from the log: the kubelet's own bounds. */
const MESSAGE = { tailLines: 80, limitBytes: null, sinceMs: null, timestamps: false } as const;
const MESSAGE_MAX_LENGTH = 2_048;

export interface LogQuery {
  readonly tailLines: number | null;
  readonly limitBytes: number | null;
  readonly sinceMs: number | null;
  readonly timestamps: boolean;
}

/** What one run of a container printed, by lines; of what was printed before the last rotation nothing is left. */
export interface ContainerLog {
  write(chunk: string | Buffer): void;
  read(query: LogQuery): Buffer;
  /** Calls `onLine` for each line that comes, whatever is rotated; answers how to stop. */
  follow(timestamps: boolean, onLine: (line: string) => void): () => void;
}

/** The end of a log, as a termination message. */
export const lastWords = (log: ContainerLog): string => log.read(MESSAGE).toString('utf8').slice(-MESSAGE_MAX_LENGTH);

export function createContainerLog(bytesMax = BYTES_MAX): ContainerLog {
  let lines: { readonly atNs: bigint; readonly text: string }[] = [];
  let bytes = 0;
  let unfinished = '';
  let lastNs = 0n;
  const followers = new Set<(line: string, atNs: bigint) => void>();

  const add = (text: string): void => {
    // To the nanosecond, and no two alike, as container runtimes have them.
    const nowNs = BigInt(Date.now()) * 1_000_000n;
    lastNs = nowNs > lastNs ? nowNs : lastNs + 1n;
    lines.push({ atNs: lastNs, text });
    bytes += Buffer.byteLength(text) + LINE_OVERHEAD_BYTES;
    if (bytes >= bytesMax) {
      lines = [];
      bytes = 0;
    }
    for (const follower of followers) follower(text, lastNs);
  };

  return {
    write(chunk) {
      const parts = (unfinished + chunk.toString()).split('\n');
      unfinished = parts.pop() ?? '';
      for (const part of parts) add(`${part}\n`);
    },
    read({ tailLines, limitBytes, sinceMs, timestamps }) {
      const all = [
        ...lines,
        ...(unfinished === '' ? [] : [{ atNs: BigInt(Date.now()) * 1_000_000n, text: unfinished }]),
      ];
      const since = sinceMs === null ? all : all.filter(({ atNs }) => atNs >= BigInt(sinceMs) * 1_000_000n);
      // -0 would be all of them.
      const tail = tailLines === null ? since : tailLines === 0 ? [] : since.slice(-tailLines);
      const text = tail.map(({ atNs, text: line }) => (timestamps ? `${stampOf(atNs)} ${line}` : line));
      const whole = Buffer.from(text.join(''));
      // As the kubelet does: the first bytes of what is asked for.
      return limitBytes === null ? whole : whole.subarray(0, limitBytes);
    },
    follow(timestamps, onLine) {
      const follower = (line: string, atNs: bigint): void => onLine(timestamps ? `${stampOf(atNs)} ${line}` : line);
      followers.add(follower);
      return () => followers.delete(follower);
    },
  };
}

function stampOf(atNs: bigint): string {
  const seconds = new Date(Number(atNs / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(atNs % 1_000_000_000n).padStart(9, '0')}Z`;
}
