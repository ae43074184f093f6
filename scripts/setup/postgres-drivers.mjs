import { fileURLToPath } from 'node:url';
import { PGJDBC_VERSION, preparedPostgresDrivers } from './cache.mjs';
import { driversHome, pomOf, prepareDrivers } from './drivers.mjs';

const POSTGRES = {
  of: 'Postgres',
  size: '15 MB',
  python: ['psycopg[binary]==3.3.9', 'psycopg_pool==3.3.3', 'asyncpg==0.32.0'],
  pom: pomOf('postgres-drivers', ['com.zaxxer:HikariCP:7.0.2', `org.postgresql:postgresql:${PGJDBC_VERSION}`]),
  goClient: fileURLToPath(new URL('../../test/e2e/clients/postgres-go', import.meta.url)),
  homeOf: preparedPostgresDrivers,
};

/** @returns {Promise<string | null>} a sentence on what is wrong, or null */
export const preparePostgresDrivers = () => prepareDrivers(POSTGRES);

export const postgresDriversHome = () => driversHome(POSTGRES);
