import neo4j from 'neo4j-driver';

/**
 * Usage: neo4j-through-restart.ts URI USER, password in NEO4J_PASSWORD. Runs managed transactions, four at a time, until
 * stdin ends. Prints a dot for each that succeeds and the error's code for each that does not.
 */
const [uri = '', user = ''] = process.argv.slice(2);
const driver = neo4j.driver(uri, neo4j.auth.basic(user, process.env['NEO4J_PASSWORD'] ?? ''));
let isEnded = false;
process.stdin.resume().on('end', () => (isEnded = true));
async function run(): Promise<void> {
  while (!isEnded) {
    try {
      await driver.executeQuery('RETURN 1', {}, { database: 'neo4j' });
      process.stdout.write('.');
    } catch (error) {
      process.stdout.write(`\n${(error as { code: string }).code} ${(error as Error).message}\n`);
    }
  }
}
await Promise.all(Array.from({ length: 4 }, run));
await driver.close();
