import { resealEnvironment } from '../../core/environment.ts';
import { errorText } from '../../core/errors.ts';
import type { Term } from '../../core/leadership.ts';
import type { Logger } from '../../core/logger.ts';
import { secretContext } from '../../core/secret.ts';
import { mappedSecretContext, type SecretMap } from '../../core/secret-map.ts';
import type { PodRecord, PodSpec } from '../../core/pod.ts';
import { podPut } from '../../core/pod-put.ts';
import type { Put, Store } from '../../core/store.ts';
import type { Vault } from '../../core/vault.ts';
import { secretPut } from '../../core/secret-put.ts';
import { templateTagPut } from '../../core/template-put.ts';
import { listAll } from '../../core/list-all.ts';

/**
 * Seals with the first key of the keyring what an older one has sealed, so that the older one can be taken out of it, and
 * what an earlier release has left as plain text: environment variables and credentials of pods, secrets, and variables of
 * template tags. A record that changes meanwhile, or that no key opens, is left to the next time. Throws when the store does not answer.
 */
export async function resealPods(
  { store, vault, log }: { readonly store: Store; readonly vault: Vault; readonly log: Logger },
  term: Pick<Term, 'isOver'>,
): Promise<void> {
  let count = 0;
  const write = async (key: string, put: () => Put | null): Promise<void> => {
    let resealed: Put | null = null;
    try {
      resealed = put();
    } catch (error) {
      log.warn({ key, error: errorText(error) }, 'cannot decrypt the secrets of a pod, so they were not re-encrypted');
    }
    if (resealed === null) return;
    const result = await store.commit({ puts: [resealed] });
    if (result.kind === 'committed') count += 1;
  };

  for await (const { key, revision, value } of listAll(store, 'pod')) {
    if (term.isOver()) return;
    await write(key, () => {
      const resealed = resealPod(vault, value);
      return resealed === null ? null : podPut(resealed, revision);
    });
  }
  for await (const { key, revision, value } of listAll(store, 'credential')) {
    if (term.isOver()) return;
    await write(key, () => {
      if (vault.isOfFirstKey(value.sealed)) return null;
      const sealed = vault.seal(vault.open(value.sealed, value.uid), value.uid);
      const { tenant } = value;
      return { kind: 'credential', key, expected: revision, value: { ...value, sealed }, tenant, indexes: [] };
    });
  }
  for await (const { revision, key, value } of listAll(store, 'secret')) {
    if (term.isOver()) return;
    await write(key, () => {
      if (vault.isOfFirstKey(value.sealed)) return null;
      const context = secretContext(value);
      return secretPut({ ...value, sealed: vault.seal(vault.open(value.sealed, context), context) }, revision);
    });
  }
  for await (const { revision, key, value } of listAll(store, 'template-tag')) {
    if (term.isOver()) return;
    await write(key, () => {
      const environmentVariables = resealEnvironment(vault, value.uid, value.environmentVariables);
      return environmentVariables === null ? null : templateTagPut({ ...value, environmentVariables }, revision);
    });
  }
  if (count > 0) log.info({ count }, 'secrets of pods were re-encrypted with the first key of the keyring');
}

/** Null: it needs no other. No field but the sealed text changes, and so no generation. */
function resealPod(vault: Vault, record: PodRecord): PodRecord | null {
  const resealed = (spec: PodSpec): PodSpec => {
    const environmentVariables = resealEnvironment(vault, record.uid, spec.environmentVariables);
    const secretMap = resealSecretMap(vault, record.uid, spec.secretMap ?? {});
    if (environmentVariables === null && secretMap === null) return spec;
    return {
      ...spec,
      ...(environmentVariables === null ? {} : { environmentVariables }),
      ...(secretMap === null ? {} : { secretMap }),
    };
  };
  const { applied } = record;
  const spec = resealed(record.spec);
  const appliedSpec = applied === null ? null : resealed(applied.spec);
  if (spec === record.spec && appliedSpec === (applied?.spec ?? null)) return null;
  return {
    ...record,
    spec,
    applied: applied === null || appliedSpec === null ? null : { ...applied, spec: appliedSpec },
  };
}

/** The random values of a secret map. Null: none needs another seal. */
function resealSecretMap(vault: Vault, uid: string, present: SecretMap): SecretMap | null {
  const isCurrent = ({ sealed }: SecretMap[string]): boolean => sealed === undefined || vault.isOfFirstKey(sealed);
  if (Object.values(present).every(isCurrent)) return null;
  const entries = Object.entries(present).map(([key, mapped]): [string, SecretMap[string]] => {
    if (mapped.sealed === undefined || isCurrent(mapped)) return [key, mapped];
    const context = mappedSecretContext(uid, key);
    return [key, { ...mapped, sealed: vault.seal(vault.open(mapped.sealed, context), context) }];
  });
  return Object.fromEntries(entries);
}
