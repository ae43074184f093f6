import { createHash, randomBytes } from 'node:crypto';

const ITERATIONS = 1_024;

/**
 * The file `dbms/auth.ini` from which a new Neo4j takes the password of its first user; what `neo4j-admin dbms
 * set-initial-password` writes, without the password in an argument that every user of the machine could read. A salted
 * SHA-256, iterated. `salt` is for tests.
 */
export function initialAuth(username: string, password: string, salt: Buffer = randomBytes(32)): string {
  let digest = createHash('sha256').update(salt).update(password, 'utf8').digest();
  for (let iteration = 1; iteration < ITERATIONS; iteration += 1) digest = createHash('sha256').update(digest).digest();
  const hex = (bytes: Buffer) => bytes.toString('hex');
  return `${username}:SHA-256,${hex(digest)},${hex(salt)},${ITERATIONS}:\n`;
}
