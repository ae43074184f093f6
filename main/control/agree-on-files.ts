import { readFile, rename, writeFile } from 'node:fs/promises';
import { isStoreFailure, PodgateError } from '../../core/errors.ts';
import type { Replicas } from '../../core/replicas.ts';
import type { Vault } from '../../core/vault.ts';

export interface Agreeing {
  readonly replicas: Pick<Replicas, 'agree' | 'settle'>;
  readonly vault: Vault;
  /** Named in what people read. */
  readonly keyringPath: string;
}

/**
 * Throws PodgateError 'config.invalid' when the keyring cannot decrypt what other replicas of this store encrypt: better now
 * than with the first pod. Encrypts it again with the first key, so that an old key can be removed once it is first nowhere.
 */
export async function checkKeyring({ replicas, vault, keyringPath }: Agreeing): Promise<void> {
  const context = 'the keyring of all replicas';
  const own = vault.seal('podgate', context);
  const agreed = await agreedOrOwn(replicas, 'keyring', own);
  if (agreed === own) return;
  openAgreed(vault, agreed, context, keyringPath);
  await settled(replicas.settle('keyring', own));
}

/**
 * Files with keys that this installation has generated and that all replicas must share: those of the first replica are kept
 * in the store, encrypted, and the others take them. Returns whether the files here were replaced. Throws as `checkKeyring`
 * does.
 */
export async function agreeOnFiles(
  { replicas, vault, keyringPath }: Agreeing,
  name: string,
  paths: readonly string[],
): Promise<boolean> {
  const context = `files of all replicas: ${name}`;
  const own = JSON.stringify(await Promise.all(paths.map((path) => readFile(path, 'utf8'))));
  const agreed = await agreedOrOwn(replicas, name, vault.seal(own, context));
  const opened = openAgreed(vault, agreed, context, keyringPath);
  if (opened === own) return false;
  const contents: unknown = JSON.parse(opened);
  if (!Array.isArray(contents) || contents.length !== paths.length) {
    throw new PodgateError('api.internal', { detail: `the shared value ${name} is damaged` });
  }
  for (const [at, path] of paths.entries()) {
    await writeFile(`${path}.new`, String(contents[at]), { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
  }
  return true;
}

/** Replaces the files of all replicas by those here, because the ones agreed on have expired. */
export async function settleFiles(
  { replicas, vault }: Agreeing,
  name: string,
  paths: readonly string[],
): Promise<void> {
  const own = JSON.stringify(await Promise.all(paths.map((path) => readFile(path, 'utf8'))));
  await settled(replicas.settle(name, vault.seal(own, `files of all replicas: ${name}`)));
}

/**
 * A suspect store takes no writes, which is no reason not to start: `podgate recover` needs a running process. The files
 * here have what was agreed on before, and the next start tries again.
 */
async function agreedOrOwn(replicas: Pick<Replicas, 'agree'>, name: string, own: string): Promise<string> {
  try {
    return await replicas.agree(name, own);
  } catch (error) {
    if (error instanceof PodgateError && error.code === 'store.suspect') return own;
    throw error;
  }
}

/** A full Redis takes no writes, which is no reason not to start: the next start tries again. */
async function settled(settling: Promise<void>): Promise<void> {
  await settling.catch((error: unknown) => {
    if (!isStoreFailure(error)) throw error;
  });
}

function openAgreed(vault: Vault, sealed: string, context: string, keyringPath: string): string {
  try {
    return vault.open(sealed, context);
  } catch (error) {
    if (!(error instanceof PodgateError) || error.code !== 'vault.cannot-open') throw error;
    throw new PodgateError('config.invalid', {
      publicMessages: [
        `The keyring ${keyringPath} is not the one this store was written with: it cannot decrypt the stored values. Use the same keyring in every replica (PODGATE_SECRET_KEY_FILE).`,
      ],
      cause: error,
    });
  }
}
