import neo4j from 'neo4j-driver';

/**
 * Usage: neo4j-client.ts URI USER QUERY, password in NEO4J_PASSWORD. Prints the first record as JSON, or the error's
 * code and message. A program of its own, since a CA for the `+s` schemes comes by NODE_EXTRA_CA_CERTS.
 */
const [uri = '', user = '', query = ''] = process.argv.slice(2);
const driver = neo4j.driver(uri, neo4j.auth.basic(user, process.env['NEO4J_PASSWORD'] ?? ''), {
  disableLosslessIntegers: true,
  maxTransactionRetryTime: 2_000,
});
try {
  const { records, summary } = await driver.executeQuery(query, {}, { database: 'neo4j' });
  console.log(JSON.stringify({ record: records[0]?.toObject() ?? null, server: summary.server.address }));
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  console.log(JSON.stringify({ code, message }));
} finally {
  await driver.close();
}
