import { integerOf, type Connection } from './sqlite-connection.ts';

/** Called in the transaction of each commit, behind its changes. `bytes`: of the records that it puts. */
export type TrimFeed = (connection: Connection, commit: number, bytes: number) => void;

/** Trimming once in so many commits keeps its cost out of most of them. */
const COMMITS_PER_TRIM = 100;
/** So often the bytes are summed up while as many are written as may stay: it takes some ms. */
const SUMS_PER_BOUND = 16;

/** The change feed keeps so many last commits, and of them as many as have so many bytes of records. */
export function createFeedTrim({
  feedCommits,
  feedBytes,
}: {
  readonly feedCommits: number;
  readonly feedBytes: number;
}): TrimFeed {
  /** Written since they were last summed up; what earlier processes have left is not known. */
  let newBytes = Infinity;
  return (connection, commit, bytes) => {
    let last = commit % COMMITS_PER_TRIM === 0 ? commit - feedCommits : 0;
    newBytes += bytes;
    if (newBytes >= feedBytes / SUMS_PER_BOUND) {
      newBytes = 0;
      last = Math.max(last, integerOf(connection.get(LAST_BEYOND, feedBytes) ?? {}, 'last'));
    }
    if (last <= 0) return;
    connection.run('DELETE FROM changes WHERE number <= ?', last);
    connection.run('UPDATE store SET trimmed = max(trimmed, ?)', last);
  };
}

/** The last commit behind which there are as many bytes as may stay, or 0. octet_length does not read the value. */
const LAST_BEYOND = `
  SELECT coalesce(max(number), 0) AS last FROM (
    SELECT number, sum(coalesce(octet_length(value), 0))
      OVER (ORDER BY number DESC, position DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS behind
    FROM changes)
  WHERE behind >= ?`;
