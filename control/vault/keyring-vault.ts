import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { PodgateError } from '../../core/errors.ts';
import type { Vault } from '../../core/vault.ts';
import { readKeyring, type Key } from './keyring-file.ts';

/** NIST SP 800-38D: 96 bits of nonce (8.2.2: random, so at most 2^32 texts a key), the whole tag. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const FORMAT = 'v1';
const SEALED = /^v1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+)$/;

/**
 * A vault over the keyring file at `path`, which is made (0600) when absent. A key is added by putting it first: it
 * seals from then on, and the others still open. Throws PodgateError 'config.invalid' as `readKeyring` does.
 */
export function openKeyringVault(path: string): Vault {
  return createKeyringVault(readKeyring(path));
}

/** Sealed text is `v1.<key id>.<nonce, ciphertext and tag in base64url>`, AES-256-GCM. */
export function createKeyringVault([sealing, ...others]: readonly [Key, ...Key[]]): Vault {
  const keys = new Map([sealing, ...others].map((key) => [key.id, key]));
  return {
    seal(plaintext, context) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealing.secret, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(associatedData(sealing.id, context));
      const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
      const body = Buffer.concat([nonce, ciphertext, cipher.getAuthTag()]).toString('base64url');
      return `${FORMAT}.${sealing.id}.${body}`;
    },

    isOfFirstKey: (sealed) => SEALED.exec(sealed)?.[1] === sealing.id,

    open(sealed, context) {
      const [, id = '', body = ''] = SEALED.exec(sealed) ?? [];
      const key = keys.get(id);
      const bytes = Buffer.from(body, 'base64url');
      if (key === undefined) throw cannotOpen(id === '' ? 'it is not sealed text' : `no key is called ${id}`);
      if (bytes.length < NONCE_BYTES + TAG_BYTES) throw cannotOpen('it is too short');
      const nonce = bytes.subarray(0, NONCE_BYTES);
      const decipher = createDecipheriv('aes-256-gcm', key.secret, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(associatedData(id, context));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      try {
        const plaintext = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
        return Buffer.concat([plaintext, decipher.final()]).toString('utf8');
      } catch {
        throw cannotOpen(`key ${id} does not fit, or it was sealed for another context`);
      }
    },
  };
}

/** Format and key id contain no zero byte, so no context can pass for another one. */
function associatedData(keyId: string, context: string): Buffer {
  return Buffer.from(`podgate\0${FORMAT}\0${keyId}\0${context}`, 'utf8');
}

function cannotOpen(reason: string): PodgateError {
  return new PodgateError('vault.cannot-open', { detail: `A sealed text cannot be opened: ${reason}.` });
}
