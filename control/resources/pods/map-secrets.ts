import { PodgateError } from '../../../core/errors.ts';
import { podKey } from '../../../core/ids.ts';
import { parseSecretReference } from '../../../core/placeholders.ts';
import type { PodRecord, PodSpec } from '../../../core/pod.ts';
import { useProblem } from '../../../core/resolve-secrets.ts';
import { type MappedSecret, mappedSecretContext, type SecretMap } from '../../../core/secret-map.ts';
import { alphanumericSecret } from './alphanumeric-secret.ts';
import type { PodParts } from './pod-parts.ts';

/**
 * A secret map as records keep it. A reference that is written again stays whose it was, and keeps its value if that is
 * random, so that nothing seems to have changed.
 */
export function mapSecrets(
  { vault, randomBytes }: Pick<PodParts, 'vault' | 'randomBytes'>,
  { uid, writer }: { readonly uid: string; readonly writer: string },
  references: Readonly<Record<string, string>>,
  present: SecretMap,
): SecretMap {
  const entries = Object.entries(references).map(([key, reference]): [string, MappedSecret] => {
    const former = Object.hasOwn(present, key) ? present[key] : undefined;
    if (former?.reference === reference) return [key, former];
    const parsed = parseSecretReference(reference);
    if (parsed?.kind !== 'random') return [key, { reference, by: writer }];
    const value = alphanumericSecret(parsed.length, randomBytes);
    return [key, { reference, by: writer, sealed: vault.seal(value, mappedSecretContext(uid, key)) }];
  });
  return Object.fromEntries(entries);
}

/**
 * Throws 'api.invalid' unless `writer` may use every secret that the spec names in their name. A secret that is not there
 * and one without permission read alike: ids of others are not to be found out.
 */
export async function requireSecrets(
  { store }: Pick<PodParts, 'store'>,
  { tenant, podId }: Pick<PodRecord, 'tenant' | 'podId'>,
  spec: PodSpec,
  writer: string,
): Promise<void> {
  const problems: string[] = [];
  for (const [key, { reference, by }] of Object.entries(spec.secretMap ?? {})) {
    const parsed = parseSecretReference(reference);
    if (parsed?.kind !== 'secret' || by !== writer) continue;
    const { name, owner } = parsed;
    const secret = (await store.get('secret', podKey(tenant, name)))?.value ?? {
      ...{ secretId: name, createdBy: '', podId: null, permissions: {} },
    };
    const problem = useProblem(secret, { by, owner, podId });
    if (problem !== null) problems.push(`secret_map.${key}: ${problem}`);
  }
  if (problems.length > 0) throw new PodgateError('api.invalid', { publicMessages: problems });
}
