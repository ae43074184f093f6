import type { CertificateRecord } from '../../core/certificates.ts';
import { errorText } from '../../core/errors.ts';
import type { Term } from '../../core/leadership.ts';
import type { Logger } from '../../core/logger.ts';
import type { Store } from '../../core/store.ts';
import type { Vault } from '../../core/vault.ts';
import type { CertificateView } from './certificate-view.ts';
import { putOf } from './certificate-records.ts';

/**
 * Seals with the first key of the keyring what an older one has sealed, so that the older one can be taken out of it. A
 * record that changes meanwhile is left to the next time.
 */
export async function resealOldest(parts: {
  readonly store: Store;
  readonly vault: Vault;
  readonly view: CertificateView;
  readonly term: Term;
  readonly log: Logger;
}): Promise<void> {
  const { store, vault, view, term, log } = parts;
  const reseal = (sealed: string, uid: string): string =>
    vault.isOfFirstKey(sealed) ? sealed : vault.seal(vault.open(sealed, uid), uid);
  let count = 0;

  for (const { key, revision, value } of [...view.certificates.values()]) {
    if (term.isOver()) return;
    try {
      const resealed = resealedCertificate(value, reseal);
      if (resealed === null) continue;
      const result = await store.commit({ puts: [putOf(key, revision, resealed)], fence: term.fence });
      if (result.kind === 'fenced') term.end('another process already writes certificates');
      if (result.kind === 'committed') count += 1;
    } catch (error) {
      log.debug({ certificate: key, error: errorText(error) }, 'failed to re-encrypt a private key');
    }
  }
  for (const key of view.accounts.keys()) {
    const stored = await store.get('acme-account', key);
    if (stored === null || term.isOver()) continue;
    const { sealedKey, sealedNextKey, uid } = stored.value;
    try {
      const changed = {
        ...stored.value,
        sealedKey: reseal(sealedKey, uid),
        sealedNextKey: sealedNextKey === null ? null : reseal(sealedNextKey, uid),
      };
      if (changed.sealedKey === sealedKey && changed.sealedNextKey === sealedNextKey) continue;
      const result = await store.commit({
        puts: [{ kind: 'acme-account', key, expected: stored.revision, value: changed, tenant: '', indexes: [] }],
      });
      if (result.kind === 'committed') count += 1;
    } catch (error) {
      log.debug({ account: key, error: errorText(error) }, 'failed to re-encrypt the key of an account');
    }
  }
  if (count > 0)
    log.info({ count }, 'private keys of certificates were re-encrypted with the first key of the keyring');
}

/** Null: it needs no other. */
function resealedCertificate(
  record: CertificateRecord,
  reseal: (sealed: string, uid: string) => string,
): CertificateRecord | null {
  const { held, order, uid } = record;
  const changed = {
    ...record,
    held: held === null ? null : { ...held, sealedKey: reseal(held.sealedKey, uid) },
    order: order === null ? null : { ...order, sealedKey: reseal(order.sealedKey, uid) },
  };
  const isSame = changed.held?.sealedKey === held?.sealedKey && changed.order?.sealedKey === order?.sealedKey;
  return isSame ? null : changed;
}
