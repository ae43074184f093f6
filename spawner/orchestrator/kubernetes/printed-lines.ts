/** What the kubelet puts before each line with `timestamps=true`: RFC 3339, in UTC or with an offset, to the nanosecond. */
const STAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) /;
const NANOS_PER_MS = 1_000_000n;

export interface PrintedLines {
  /** Without the times. */
  readonly text: string;
  /** Of the last line, as the kubelet wrote it; that of `after` when there is none. */
  readonly until: string;
}

/**
 * The lines printed after a time (`after`, as `until` of an earlier read; '' = all). `sinceTime` of the API goes by whole
 * seconds, so what comes has lines that were read before. The times of a log only grow, so the first new one is looked for
 * and the rest is not compared. A part of a line, at the end or within, has a time of its own.
 */
export function linesAfter(log: string, after: string): PrintedLines {
  const afterNs = stampNs(after === '' ? '' : `${after} `);
  const texts: string[] = [];
  let until = after;
  let isNew = afterNs === null;
  for (let at = 0; at < log.length;) {
    const line = log.slice(at, log.indexOf('\n', at) + 1 || log.length);
    at += line.length;
    if (!isNew) {
      const ns = stampNs(line);
      isNew = ns !== null && afterNs !== null && ns > afterNs;
    }
    if (!isNew) continue;
    const [stamp] = STAMP.exec(line) ?? [];
    if (stamp !== undefined) until = stamp.slice(0, -1);
    texts.push(stamp === undefined ? line : line.slice(stamp.length));
  }
  return { text: texts.join(''), until };
}

/** Null when the line begins with no time. */
function stampNs(line: string): bigint | null {
  const [, seconds, fraction = '', zone] = STAMP.exec(line) ?? [];
  if (seconds === undefined || zone === undefined) return null;
  const ms = Date.parse(`${seconds}${zone}`);
  return Number.isNaN(ms) ? null : BigInt(ms) * NANOS_PER_MS + BigInt(fraction.padEnd(9, '0'));
}

/** For `sinceTime`, which the API server reads in whole seconds. */
export function wholeSecond(stamp: string): string {
  return stamp.replace(/\.\d+/, '');
}
