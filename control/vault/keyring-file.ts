import { randomBytes, randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, kindOfError } from '../../core/error-code.ts';
import { PodgateError } from '../../core/errors.ts';

export interface Key {
  /** Named in what it seals: 1 to 32 letters, digits, `_` or `-`. */
  readonly id: string;
  /** 32 bytes. */
  readonly secret: Buffer;
}

const KEY_ID = /^[A-Za-z0-9_-]{1,32}$/;
const SECRET = /^[A-Za-z0-9+/]{43}=$/;
/** Room for some ten thousand keys; a file larger than this is something else. */
const MOST_BYTES = 1_000_000;

/**
 * The keys of the keyring file, the sealing one first. The file is made, with one random key, when absent. It is
 * `{"keys": [{"id": "...", "key": "<32 bytes in base64>"}, ...]}`.
 *
 * Throws PodgateError 'config.invalid' with a sentence when it cannot be read or made, when it is not private, or when it
 * is malformed. No sentence or cause ever quotes the file.
 */
export function readKeyring(path: string): readonly [Key, ...Key[]] {
  try {
    if (statSync(path, { throwIfNoEntry: false }) === undefined) makeKeyring(path);
    return parseKeyring(path, readPrivateFile(path));
  } catch (error) {
    if (error instanceof PodgateError) throw error;
    const reason = errorCode(error) ?? 'unknown';
    throw refused(`The keyring ${path} cannot be read or made (${reason}).`);
  }
}

/** The text of a keyring that holds these keys. */
export function formatKeyring(keys: readonly Key[]): string {
  const written = keys.map(({ id, secret }) => ({ id, key: secret.toString('base64') }));
  return `${JSON.stringify({ keys: written }, null, 2)}\n`;
}

/**
 * Written aside and on the disk before it gets its name. A link rather than a rename: a rename would replace the keyring
 * of a process that starts at the same time, and with it the only key to what that process seals.
 */
function makeKeyring(path: string): void {
  const aside = `${path}.${randomUUID()}`;
  const file = openSync(aside, 'wx', 0o600);
  try {
    try {
      writeFileSync(file, formatKeyring([makeKey()]));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    linkUnlessPresent(aside, path);
  } finally {
    rmSync(aside, { force: true });
  }
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function linkUnlessPresent(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if (kindOfError(error) !== 'exists') throw error;
  }
}

/** A fresh key with a name that no other has. */
export function makeKey(): Key {
  return { id: randomUUID().slice(0, 8), secret: randomBytes(32) };
}

/**
 * Its owner's alone; or root's, readable to a group of ours: so Kubernetes gives the files of a Secret to a program that
 * is not root (fsGroup, mode 0440). Pure.
 */
export function isPrivate(
  { mode, uid, gid }: { readonly mode: number; readonly uid: number; readonly gid: number },
  ownGroups: readonly number[],
): boolean {
  if ((mode & 0o077) === 0) return true;
  return (mode & 0o037) === 0 && uid === 0 && gid !== 0 && ownGroups.includes(gid);
}

/** Mode and content of one and the same file, whatever the path leads to a moment later. */
function readPrivateFile(path: string): string {
  const file = openSync(path, 'r');
  try {
    const { mode, size, uid, gid } = fstatSync(file);
    const groups = [process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])];
    if (!isPrivate({ mode, uid, gid }, groups)) {
      const octal = (mode & 0o777).toString(8).padStart(4, '0');
      throw refused(`The keyring ${path} has mode ${octal}: others can use it. Make it 0600.`);
    }
    if (size > MOST_BYTES) throw refused(`The keyring ${path} is too large to be one.`);
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

function parseKeyring(path: string, text: string): readonly [Key, ...Key[]] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Without the cause: V8 quotes the text, and the text is the keys.
    throw refused(`The keyring ${path} is not JSON.`);
  }
  const written: unknown = typeof parsed === 'object' && parsed !== null && 'keys' in parsed ? parsed.keys : null;
  if (!Array.isArray(written)) throw refused(`The keyring ${path} has no list "keys".`);
  const [first, ...others] = written.map((entry: unknown, index) => {
    const key = parseKey(entry);
    if (key === null) {
      throw refused(`Key ${index + 1} of the keyring ${path} is not {"id": "...", "key": "<32 bytes in base64>"}.`);
    }
    return key;
  });
  if (first === undefined) throw refused(`The keyring ${path} holds no key.`);
  if (new Set([first, ...others].map(({ id }) => id)).size <= others.length) {
    throw refused(`Two keys of the keyring ${path} have the same id.`);
  }
  return [first, ...others];
}

function parseKey(entry: unknown): Key | null {
  if (typeof entry !== 'object' || entry === null || !('id' in entry) || !('key' in entry)) return null;
  const { id, key } = entry;
  if (typeof id !== 'string' || !KEY_ID.test(id) || typeof key !== 'string' || !SECRET.test(key)) return null;
  return { id, secret: Buffer.from(key, 'base64') };
}

function refused(sentence: string): PodgateError {
  return new PodgateError('config.invalid', { publicMessages: [sentence] });
}
