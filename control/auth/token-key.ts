import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

import { kindOfError } from '../../core/error-code.ts';
import { PodgateError } from '../../core/errors.ts';

const MODULUS_BITS = 2048;

/** The key pair with which this installation signs tokens of its default tenant. */
export interface TokenKey {
  readonly privateKey: KeyObject;
  readonly publicKeyPem: string;
}

/**
 * Reads the RSA key pair of that file (PKCS #8, PEM), making it first - readable by its owner alone - when there is
 * none. Several processes may do so at once: all get the same key. Throws PodgateError 'config.invalid' when the file
 * holds something else, or may be read by others.
 */
export async function makeTokenKey(path: string): Promise<TokenKey> {
  const existing = await readTokenKey(path);
  if (existing !== null) return existing;
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: MODULUS_BITS });
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomUUID()}`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(privateKey.export({ type: 'pkcs8', format: 'pem' }));
      await file.sync();
    } finally {
      await file.close();
    }
    // A link, not a rename: it fails where another process was first, and that one's key may have signed already.
    await link(temporary, path).catch((error: unknown) => {
      if (kindOfError(error) !== 'exists') throw error;
    });
  } finally {
    await rm(temporary, { force: true });
  }
  const made = await readTokenKey(path);
  if (made === null) throw invalid(path, 'vanished while it was being made');
  return made;
}

async function readTokenKey(path: string): Promise<TokenKey | null> {
  let pem: string;
  try {
    if (((await stat(path)).mode & 0o077) !== 0) {
      throw invalid(path, 'can be read by others; run `chmod 600` on it');
    }
    pem = await readFile(path, 'utf8');
  } catch (error) {
    if (kindOfError(error) === 'absent') return null;
    throw error;
  }
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
  } catch (error) {
    throw invalid(path, 'contains no private key in PEM format', error);
  }
  if (privateKey.asymmetricKeyType !== 'rsa') throw invalid(path, 'contains no RSA key');
  return { privateKey, publicKeyPem: createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }) };
}

function invalid(path: string, what: string, cause?: unknown): PodgateError {
  return new PodgateError('config.invalid', {
    publicMessages: [`The token key file ${path} ${what}.`],
    ...(cause === undefined ? {} : { cause }),
  });
}
