const MINUTE_MS = 60_000;
/** A line of the action log: `YY/MM/DD HH:MM: text`, in UTC. */
const LINE = /^(\d\d)\/(\d\d)\/(\d\d) (\d\d):(\d\d): ([^]*)$/;
const STATUS = /\bset status to ([A-Z_]+)(?:: ([^]*))?/;
const STARTED = / ran start_pod, set to ON and (REQUESTED)$/;
const CREATED = /^Pod object created by /;
/** What is done inside a pod changes no status. */
const BESIDE = /' (?:opened a terminal|downloads|uploads|saved|ran (?:a command|\d+ commands):)/;

function parsed(line) {
  const [, year, month, day, hour, minute, text] = LINE.exec(line) ?? [];
  if (text === undefined) return null;
  return { ms: Date.UTC(2000 + Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute)), text };
}

/**
 * The statuses of a pod from `fromMs` to `toMs`, oldest first: `{status, fromMs, toMs, reason}`. `now` is its status at
 * `toMs`. The log has times to the minute and keeps the last lines only: before them, `status` is null.
 */
export function statusHistory(lines, { fromMs, toMs, now }) {
  let changes = [{ status: null, ms: fromMs, reason: '' }];
  let cause = '';
  for (const line of lines) {
    const { ms, text = '' } = parsed(line) ?? {};
    const [, status, why] = STATUS.exec(text) ?? STARTED.exec(text) ?? [];
    if (CREATED.test(text)) changes = [{ status: 'REQUESTED', ms, reason: text }];
    else if (status !== undefined) {
      // It was created as one that does not run.
      if (STARTED.test(text) && changes.length === 1 && changes[0].status !== null) changes[0].status = 'STOPPED';
      const before = changes.at(-1);
      const known = why ?? (STARTED.test(text) ? text : cause);
      // What passed within the minute is not shown, but its reason is.
      changes.push({ status, ms, reason: known === '' && before.ms === ms ? before.reason : known });
      cause = '';
    } else if (text !== '' && !BESIDE.test(text)) cause = text;
  }
  const last = changes.at(-1);
  if (last.status !== now) {
    if (changes.length === 1) last.status = now;
    else changes.push({ status: now, ms: Math.max(last.ms, toMs - MINUTE_MS), reason: cause });
  }
  return changes
    .map((change, index) => ({
      status: change.status,
      reason: change.reason,
      fromMs: Math.max(change.ms, fromMs),
      toMs: Math.min(changes[index + 1]?.ms ?? toMs, toMs),
    }))
    .filter((span, index) => span.toMs > span.fromMs || index === changes.length - 1);
}
