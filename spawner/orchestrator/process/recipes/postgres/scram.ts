import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';

const ITERATIONS = 4_096;
const deriveKey = promisify(pbkdf2);

export function quotedName(username: string): string {
  return `"${username.replaceAll('"', '""')}"`;
}

/**
 * The verifier that Postgres keeps instead of a password (RFC 5803, with Postgres' separators): given to it in this form,
 * the password itself is never in a process or a log of the pod. `salt` is for tests.
 */
export async function scramVerifier(password: string, salt: Buffer = randomBytes(16)): Promise<string> {
  const salted = await deriveKey(password.normalize('NFKC'), salt, ITERATIONS, 32, 'sha256');
  const keyed = (text: string) => createHmac('sha256', salted).update(text).digest();
  const storedKey = createHash('sha256').update(keyed('Client Key')).digest('base64');
  const serverKey = keyed('Server Key').toString('base64');
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}
