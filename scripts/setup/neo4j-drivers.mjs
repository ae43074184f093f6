import { fileURLToPath } from 'node:url';
import { preparedNeo4jDrivers } from './cache.mjs';
import { driversHome, pomOf, prepareDrivers } from './drivers.mjs';

const NEO4J = {
  of: 'Neo4j',
  size: '20 MB',
  python: ['neo4j==6.4.1'],
  // The line that runs on Java 17.
  pom: pomOf('neo4j-driver', ['org.neo4j.driver:neo4j-java-driver:5.28.5']),
  goClient: fileURLToPath(new URL('../../test/e2e/clients/neo4j-go', import.meta.url)),
  homeOf: preparedNeo4jDrivers,
};

/** @returns {Promise<string | null>} a sentence on what is wrong, or null */
export const prepareNeo4jDrivers = () => prepareDrivers(NEO4J);

export const neo4jDriversHome = () => driversHome(NEO4J);
