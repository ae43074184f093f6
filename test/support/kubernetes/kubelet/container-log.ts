const LINES_MAX = 20_000;
const BYTES_MAX = 4_000_000;
/** Of a termination message that is taken from the log: the kubelet's own bounds. */
const MESSAGE = { tailLines: 80, limitBytes: null, sinceMs: null, timestamps: false } as const;
const MESSAGE_MAX_LENGTH = 2_048;

export interface LogQuery {
  readonly tailLines: number | null;
  readonly limitBytes: number | null;
  readonly sinceMs: number | null;
  readonly timestamps: boolean;
}

/** What one run of a container printed, by lines, bounded. */
export interface ContainerLog {
  write(chunk: string | Buffer): void;
  read(query: LogQuery): Buffer;
  /** Calls `onLine` for each line that comes; answers how to stop. */
  follow(onLine: (line: string) => void): () => void;
}

/** The end of a log, as a termination message. */
export const lastWords = (log: ContainerLog): string => log.read(MESSAGE).toString('utf8').slice(-MESSAGE_MAX_LENGTH);

export function createContainerLog(): ContainerLog {
  let lines: { readonly atMs: number; readonly text: string }[] = [];
  let bytes = 0;
  let unfinished = '';
  const followers = new Set<(line: string) => void>();

  const add = (text: string): void => {
    lines.push({ atMs: Date.now(), text });
    bytes += text.length;
    if (lines.length > LINES_MAX || bytes > BYTES_MAX) {
      // The older half, so that this is not done for every line.
      lines = lines.slice(Math.ceil(lines.length / 2));
      bytes = lines.reduce((sum, line) => sum + line.text.length, 0);
    }
    for (const follower of followers) follower(text);
  };

  return {
    write(chunk) {
      const parts = (unfinished + chunk.toString()).split('\n');
      unfinished = parts.pop() ?? '';
      for (const part of parts) add(`${part}\n`);
    },
    read({ tailLines, limitBytes, sinceMs, timestamps }) {
      const all = [...lines, ...(unfinished === '' ? [] : [{ atMs: Date.now(), text: unfinished }])];
      const since = sinceMs === null ? all : all.filter(({ atMs }) => atMs >= sinceMs);
      // -0 would be all of them.
      const tail = tailLines === null ? since : tailLines === 0 ? [] : since.slice(-tailLines);
      const text = tail.map(({ atMs, text: line }) => (timestamps ? `${new Date(atMs).toISOString()} ${line}` : line));
      const whole = Buffer.from(text.join(''));
      // As the kubelet does: the first bytes of what is asked for.
      return limitBytes === null ? whole : whole.subarray(0, limitBytes);
    },
    follow(onLine) {
      followers.add(onLine);
      return () => followers.delete(onLine);
    },
  };
}
