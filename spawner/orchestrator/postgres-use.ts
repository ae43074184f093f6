/**
 * One column of text, a row for each reason why a Postgres is in use. For a superuser; PostgreSQL 16 and later. What
 * connection pools do to keep sessions alive, and Podgate's own probes, are `SELECT 1`. A session of this machine (no
 * address) never came through a gateway: it counts for a minute after its last statement. Temporary tables are found by
 * their files, whose names contain the session's number: the catalog shows those of one database only. Postgres does not
 * show which sessions listen; a session whose last statement was LISTEN does.
 */
export const POSTGRES_USE = String.raw`
WITH backend AS (
  SELECT *, coalesce(usename, '?') AS who, coalesce(backend_type, '') AS type, coalesce(query, '') AS said
  FROM pg_stat_activity WHERE pid <> pg_backend_pid()
), temporary AS (
  SELECT DISTINCT substring(file FROM '^t(\d{1,9})_')::int AS session
  FROM (SELECT DISTINCT datid FROM backend WHERE type = 'client backend') AS used,
    pg_ls_dir('base/' || datid, true, false) AS file
  WHERE file ~ '^t\d{1,9}_'
), reason (rank, why) AS (
  SELECT 1, 'prepared transaction ' || gid || ' in database ' || database FROM pg_prepared_xacts
  UNION SELECT 2, 'an open transaction of user ' || who FROM backend
    WHERE type = 'client backend' AND state LIKE 'idle in transaction%'
  UNION SELECT 3, 'a query of user ' || who FROM backend
    WHERE type = 'client backend' AND state IN ('active', 'fastpath function call') AND said !~* '^\s*select 1\s*;?\s*$'
  UNION SELECT 4, 'a backup of user ' || who FROM backend
    WHERE type = 'client backend' AND state = 'idle' AND said ~* 'pg_(backup_start|start_backup)'
  UNION SELECT 5, 'a session of user ' || who || ' inside the pod' FROM backend
    WHERE type = 'client backend' AND state = 'idle' AND client_addr IS NULL
      AND state_change > clock_timestamp() - interval '1 minute'
  UNION SELECT 6, 'advisory locks of user ' || who FROM backend
    WHERE pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)
  UNION SELECT 7, 'temporary tables of user ' || who FROM backend
    WHERE type = 'client backend' AND pid IN (SELECT pg_stat_get_backend_pid(session) FROM temporary)
  UNION SELECT 8, 'LISTEN of user ' || who FROM backend
    WHERE type = 'client backend' AND state = 'idle' AND said ~* '^\s*listen\s'
  UNION SELECT 9, CASE WHEN pid IN (SELECT pid FROM pg_stat_progress_basebackup) THEN 'a base backup of user ' || who
      ELSE 'replication to ' || coalesce(nullif(application_name, ''), who) END FROM backend
    WHERE type = 'walsender'
  UNION SELECT 10, 'replication (' || type || ')' FROM backend
    WHERE type = 'walreceiver' OR type LIKE 'logical replication%worker'
  UNION SELECT 11, 'autovacuum of table ' || regexp_replace(said, '^autovacuum: (VACUUM |ANALYZE )*', '') FROM backend
    WHERE type = 'autovacuum worker' AND said LIKE 'autovacuum: %'
  UNION SELECT 12, 'background worker ' || type FROM backend
    WHERE state = 'active' AND type NOT IN ('client backend', 'walsender', 'autovacuum worker', 'parallel worker')
      AND type NOT LIKE 'logical replication%worker'
  UNION SELECT 13, 'a session of user ' || who || ' whose activity is not shown' FROM backend
    WHERE type = 'client backend' AND (state = 'disabled' OR said = '<insufficient privilege>')
)
SELECT left(why, 200) AS why FROM reason ORDER BY rank, why LIMIT 8`;
