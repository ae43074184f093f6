import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { on } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatKeyring, makeKey, readKeyring } from '../../../control/vault/keyring-file.ts';
import { createKeyringVault, openKeyringVault } from '../../../control/vault/keyring-vault.ts';
import { PodgateError } from '../../../core/errors.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'podgate-vault-'));
  path = join(folder, 'keyring.json');
});
afterEach(() => rmSync(folder, { recursive: true }));

function errorOf(call: () => unknown): PodgateError {
  try {
    call();
  } catch (error) {
    if (error instanceof PodgateError) return error;
    throw error;
  }
  throw new Error('expected a PodgateError');
}

describe('the keyring file', () => {
  it('is created with one key, private to its owner, and leaves no temporary file', () => {
    readKeyring(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['keyring.json']);
    expect(readKeyring(path)).toHaveLength(1);
  });

  it('is made once: what was sealed before opens after it is read again', () => {
    const sealed = openKeyringVault(path).seal('secret', 'uid');
    expect(openKeyringVault(path).open(sealed, 'uid')).toBe('secret');
  });

  it('has another key in another place', () => {
    const [key] = readKeyring(path);
    const [other] = readKeyring(join(folder, 'other.json'));
    expect(key.secret).toHaveLength(32);
    expect(other.secret.equals(key.secret)).toBe(false);
  });

  it.each([0o640, 0o604, 0o620, 0o601, 0o644])('is refused when others can use it (mode %o)', (mode) => {
    readKeyring(path);
    chmodSync(path, mode);
    const error = errorOf(() => openKeyringVault(path));
    expect(error.code).toBe('config.invalid');
    expect(error.publicMessages.join()).toContain(`0${mode.toString(8)}`);
  });

  const secret = makeKey().secret.toString('base64');
  it.each([
    ['empty', ''],
    ['cut off', `{"keys": [{"id": "a", "key": "${secret}`],
    ['a list', '[]'],
    ['null', 'null'],
    ['without keys', '{}'],
    ['with no key', '{"keys": []}'],
    ['with a short key', `{"keys": [{"id": "a", "key": "${secret.slice(0, 20)}"}]}`],
    ['with a key that is not base64', `{"keys": [{"id": "a", "key": "${'!'.repeat(44)}"}]}`],
    ['with an id that cannot be one', `{"keys": [{"id": "a.b", "key": "${secret}"}]}`],
    ['with a key without id', `{"keys": [{"key": "${secret}"}]}`],
    [
      'with two keys of one id',
      `{"keys": [{"id": "a", "key": "${secret}"}, {"id": "a", "key": "${makeKey().secret.toString('base64')}"}]}`,
    ],
    ['with a bad key behind a good one', `{"keys": [{"id": "a", "key": "${secret}"}, null]}`],
  ])('is refused when it is %s, without a word of what it holds', (_what, text) => {
    writeFileSync(path, text, { mode: 0o600 });
    const error = errorOf(() => openKeyringVault(path));
    expect(error.code).toBe('config.invalid');
    expect(error.publicMessages.join()).toContain(path);
    expect(error.cause).toBeUndefined();
    expect(`${error.message} ${error.stack ?? ''}`).not.toContain(secret.slice(0, 8));
    expect(readFileSync(path, 'utf8')).toBe(text);
  });

  it('is refused with a sentence where it cannot be made', () => {
    const error = errorOf(() => openKeyringVault(join(folder, 'absent', 'keyring.json')));
    expect(error.code).toBe('config.invalid');
    expect(error.message).toContain('ENOENT');
  });

  it('is refused when it is a folder', () => {
    expect(errorOf(() => openKeyringVault(folder)).code).toBe('config.invalid');
  });

  it('is the same for all processes that create it at the same time', async () => {
    for (let round = 0; round < 5; round++) {
      const shared = join(folder, `${round}.json`);
      const gate = new Int32Array(new SharedArrayBuffer(4));
      const openers = Array.from({ length: 6 }, () => {
        const worker = new Worker(new URL('keyring-opener.ts', import.meta.url), {
          workerData: { path: shared, gate },
        });
        return { worker, messages: on(worker, 'message') };
      });
      const next = async (messages: AsyncIterator<unknown>): Promise<unknown> => (await messages.next()).value;
      await Promise.all(openers.map(({ messages }) => next(messages)));
      Atomics.store(gate, 0, 1);
      Atomics.notify(gate, 0);
      const ids = await Promise.all(openers.map(async ({ messages }) => String(await next(messages))));
      expect(ids).toEqual(Array.from({ length: 6 }, () => readKeyring(shared)[0].id));
      await Promise.all(openers.map(({ worker }) => worker.terminate()));
    }
  });
});

describe('the vault', () => {
  it('opens what it sealed, for any text', () => {
    const vault = openKeyringVault(path);
    for (const text of ['', 'a', 'pass word', 'ünd 漢 🦊 \u0000', 'x'.repeat(100_000)]) {
      expect(vault.open(vault.seal(text, 'uid'), 'uid')).toBe(text);
    }
  });

  it('seals the same text differently each time, and shows nothing of it', () => {
    const vault = openKeyringVault(path);
    const sealed = Array.from({ length: 100 }, () => vault.seal('correct horse', 'uid'));
    expect(new Set(sealed).size).toBe(100);
    expect(sealed.every((text) => !text.includes('horse') && !text.includes(btoa('correct horse').slice(0, 10)))).toBe(
      true,
    );
  });

  it('does not open as one context what was sealed for another', () => {
    const vault = openKeyringVault(path);
    const sealed = vault.seal('secret', 'uid-1');
    for (const context of ['uid-2', '', 'uid-1 ', 'uid-1\0']) {
      expect(errorOf(() => vault.open(sealed, context)).code).toBe('vault.cannot-open');
    }
  });

  it('does not open what was changed, in any place', () => {
    const vault = openKeyringVault(path);
    const sealed = vault.seal('secret', 'uid');
    for (let i = 0; i < sealed.length; i++) {
      const changed = `${sealed.slice(0, i)}${sealed[i] === 'A' ? 'Q' : 'A'}${sealed.slice(i + 1)}`;
      expect(errorOf(() => vault.open(changed, 'uid')).code).toBe('vault.cannot-open');
    }
  });

  it('does not open what was cut off or never sealed', () => {
    const vault = openKeyringVault(path);
    const sealed = vault.seal('secret', 'uid');
    const texts = ['', 'v1', 'v1..', 'secret', `v2${sealed.slice(2)}`, `${sealed}.x`, ` ${sealed}`];
    for (let length = 0; length < sealed.length; length++) texts.push(sealed.slice(0, length));
    for (const text of texts) {
      const error = errorOf(() => vault.open(text, 'uid'));
      expect(error.code).toBe('vault.cannot-open');
      if (text.length > 10) expect(error.message).not.toContain(text);
    }
  });

  it('seals with the key put first, and opens with every key', () => {
    const old = openKeyringVault(path).seal('secret', 'uid');
    const added = makeKey();
    writeFileSync(path, formatKeyring([added, ...readKeyring(path)]));
    const rotated = openKeyringVault(path);
    expect(rotated.open(old, 'uid')).toBe('secret');
    const sealed = rotated.seal('secret', 'uid');
    expect(sealed.split('.')[1]).toBe(added.id);
    const onlyNew = createKeyringVault([added]);
    expect(onlyNew.open(sealed, 'uid')).toBe('secret');
    expect(errorOf(() => onlyNew.open(old, 'uid')).code).toBe('vault.cannot-open');
  });

  it('does not open with another key of the same id', () => {
    const key = makeKey();
    const sealed = createKeyringVault([key]).seal('secret', 'uid');
    const other = createKeyringVault([{ ...makeKey(), id: key.id }]);
    expect(errorOf(() => other.open(sealed, 'uid')).code).toBe('vault.cannot-open');
  });
});
