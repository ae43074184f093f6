import pg from 'pg';
import { expect } from 'vitest';
import type { Orchestrator } from '../../core/orchestrator.ts';
import type { WorkloadRef } from '../../core/workload-ref.ts';
import type { UseInside } from '../../core/use-inside.ts';
import { until } from './until.ts';

export interface UsedPostgres {
  readonly user: string;
  /** Of its user, over the network, as a client that no gateway sees. */
  readonly config: pg.ClientConfig;
  /** A session inside the pod runs this statement, and ends once it is done. */
  readonly inside: (sql: string) => Promise<unknown>;
  readonly check: () => Promise<UseInside>;
}

/** So that `expectUseInside` can have prepared transactions, once the server has started again. */
export const ALLOW_PREPARED = 'ALTER SYSTEM SET max_prepared_transactions = 5';

export function checkUse({ useInside }: Pick<Orchestrator, 'useInside'>, ref: WorkloadRef): Promise<UseInside> {
  if (useInside === undefined) throw new Error('this orchestrator has no such check');
  return useInside({ ...ref, template: 'template/postgres' }, AbortSignal.timeout(10_000));
}

/** Uses a Postgres in every way that only the check inside it can see. */
export async function expectUseInside({ user, config, inside, check }: UsedPostgres): Promise<void> {
  const open = async (change: object = {}) => {
    const client = new pg.Client({ ...config, ...change });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const [one, other] = [await open(), await open()];
  const { rows } = await one.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const becomes = (why: string) =>
    until(why, async () => {
      const use = await check();
      return use.kind === 'in-use' && use.because.includes(why);
    });
  const becomesIdle = () =>
    until('it is idle', async () => (await check()).kind === 'idle', { timeoutMs: 90_000, everyMs: 500 });

  // Two sessions that do nothing, and one of a pool that only keeps itself alive.
  await one.query('SELECT 1');
  await becomesIdle();

  const asleep = one.query('SELECT pg_sleep(60)').catch(() => undefined);
  await becomes(`a query of user ${user}`);
  await other.query('SELECT pg_cancel_backend($1)', [rows[0]?.pid]);
  await asleep;

  await one.query('BEGIN; CREATE TABLE prepared (n int)');
  await becomes(`an open transaction of user ${user}`);
  await one.query("PREPARE TRANSACTION 'mine'");
  await becomes(`prepared transaction mine in database ${user}`);
  await one.query("ROLLBACK PREPARED 'mine'");

  await one.query('SELECT pg_advisory_lock(1)');
  await becomes(`advisory locks of user ${user}`);
  await one.query('SELECT pg_advisory_unlock(1)');

  await one.query('CREATE TEMPORARY TABLE mine AS SELECT 1 AS n');
  await becomes(`temporary tables of user ${user}`);
  // They are this session's alone, and end with it.
  await other.query('SELECT 2');
  expect(await check()).toEqual({ kind: 'in-use', because: [`temporary tables of user ${user}`] });
  await one.query('DROP TABLE mine');
  await one.query('LISTEN news');
  await becomes(`LISTEN of user ${user}`);
  await one.query('UNLISTEN *');

  const sender = await open({ replication: 'database' });
  sender.query('BASE_BACKUP ( MAX_RATE 32, CHECKPOINT fast )').catch(() => undefined);
  await becomes(`a base backup of user ${user}`);
  await sender.end().catch(() => undefined);

  await one.query("ALTER SYSTEM SET autovacuum_naptime = '1s'");
  await one.query('SELECT pg_reload_conf()');
  await one.query(`CREATE TABLE dead (n int) WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)`);
  await one.query('INSERT INTO dead SELECT generate_series(1, 20000)');
  await one.query('DELETE FROM dead');
  await becomes('autovacuum of table public.dead');
  await one.query('DROP TABLE dead');

  await becomesIdle();
  const within = inside('SELECT pg_sleep(2)');
  await becomes(`a query of user ${user}`);
  await within;
  await Promise.all([one.end(), other.end()]);
}
