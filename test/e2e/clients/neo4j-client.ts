import neo4j from 'neo4j-driver';

/**
 * Usage: neo4j-client.ts USER QUERY URI..., password in NEO4J_PASSWORD. Prints a line of JSON for each URI: the first
 * record, or the error's code and message. A program of its own, since a CA for the `+s` schemes comes by
 * NODE_EXTRA_CA_CERTS. The others beside it do the same in other languages.
 */
const [user = '', query = '', ...uris] = process.argv.slice(2);
for (const uri of uris) {
  const driver = neo4j.driver(uri, neo4j.auth.basic(user, process.env['NEO4J_PASSWORD'] ?? ''), {
    disableLosslessIntegers: true,
    maxTransactionRetryTime: 2_000,
  });
  try {
    const { records, summary } = await driver.executeQuery(query, {}, { database: 'neo4j' });
    const record = records[0]?.toObject() ?? null;
    console.log(JSON.stringify({ record, records: records.length, server: summary.server.address }));
  } catch (error) {
    const { name, code, message } = error as { name: string; code?: string; message: string };
    const retryable = neo4j.isRetryableError(error);
    console.log(JSON.stringify({ type: name, code, message, retryable }));
  } finally {
    await driver.close();
  }
}
