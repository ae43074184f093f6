import neo4j from 'neo4j-driver';
import pg from 'pg';
import type { WorkloadSpec } from '../../core/workloads.ts';
import { neo4jTemplate } from '../../spawner/templates/neo4j.ts';
import { postgresTemplate } from '../../spawner/templates/postgres.ts';
import { workloadSpec } from '../contract/orchestrator-harness.ts';

export type Database = 'postgres' | 'neo4j';
export const isDatabase = (text: string): text is Database => text === 'postgres' || text === 'neo4j';

const PASSWORD = 'a-password-of-24-letters';
const POD_ID = 'mydb';

/** A pod of a template with a volume, whose user and password `answersQuery` knows. */
export function databasePod(database: Database, change: Partial<WorkloadSpec> = {}): WorkloadSpec {
  const template = database === 'postgres' ? postgresTemplate : neo4jTemplate;
  return workloadSpec(
    {
      template: template.name,
      writtenTemplate: database,
      networking: template.networking ?? {},
      persistentVolume: true,
    },
    { podId: POD_ID, credentials: { username: userOf(database), password: PASSWORD }, ...change },
  );
}

const userOf = (database: Database): string => (database === 'postgres' ? POD_ID : 'neo4j');

/** Logs in once as the template's user and writes; throws when that does not succeed at the first attempt. */
export async function answersQuery(database: Database, address: string, port: number): Promise<void> {
  if (database === 'postgres') {
    const user = userOf(database);
    const client = new pg.Client({ host: address, port, user, password: PASSWORD, database: POD_ID });
    await client.connect();
    try {
      await client.query('CREATE TABLE kept (n int)');
    } finally {
      await client.end();
    }
    return;
  }
  const driver = neo4j.driver(`bolt://${address}:${port}`, neo4j.auth.basic(userOf(database), PASSWORD));
  const session = driver.session();
  try {
    await session.run('CREATE (:Kept)');
  } finally {
    await session.close();
    await driver.close();
  }
}
