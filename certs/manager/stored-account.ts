import { randomUUID } from 'node:crypto';
import type { AcmeAccountRecord } from '../../core/certificates.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText, PodgateError } from '../../core/errors.ts';
import type { Store, Stored } from '../../core/store.ts';
import type { Term } from '../../core/leadership.ts';
import type { Logger } from '../../core/logger.ts';
import type { Vault } from '../../core/vault.ts';
import { type AccountState, openAccount } from '../acme/acme-account.ts';
import { AcmeError } from '../acme/acme-error.ts';
import type { AcmeSession } from '../acme/acme-session.ts';
import { makePrivateKey } from '../acme/private-key.ts';
import { accountRetryAtMs, isRetryTime } from '../plan/back-off.ts';
import { fractionOf } from '../plan/renewal-time.ts';
import type { AcmeSettings } from './acme-settings.ts';
import { fencedOff, LostOwnership } from './certificate-records.ts';

export interface StoredAccount {
  /** A session of the account; creates the account first if there is none. Throws as `openAccount` does, and LostOwnership. */
  session(signal: AbortSignal): Promise<AcmeSession>;
  /** Nothing is tried before; wall clock ms, 0 = now. */
  pausedUntilMs(): Promise<number>;
  failed(error: unknown): Promise<void>;
  succeeded(): Promise<void>;
}

/** Keeps one account at one ACME server in the store, for the holder of a term. */
export function createStoredAccount(options: {
  readonly store: Store;
  readonly vault: Vault;
  readonly settings: AcmeSettings;
  readonly term: Term;
  readonly clock: Clock;
  readonly log: Logger;
}): StoredAccount {
  const { store, vault, settings, term, clock, log } = options;
  const key = settings.server.directoryUrl;
  let opened: { readonly uid: string; readonly sealedKey: string; readonly session: AcmeSession } | null = null;
  /** Many orders need it at once; it is opened for one. */
  let opening: Promise<AcmeSession> | null = null;

  async function open(signal: AbortSignal): Promise<AcmeSession> {
    const stored = (await store.get('acme-account', key)) ?? (await make());
    const record = stored.value;
    if (opened?.uid === record.uid && opened.sealedKey === record.sealedKey && record.sealedNextKey === null) {
      return opened.session;
    }
    const state: AccountState = {
      key: vault.open(record.sealedKey, record.uid),
      nextKey: record.sealedNextKey === null ? null : vault.open(record.sealedNextKey, record.uid),
      url: record.url,
      contact: record.contact,
    };
    const { server, emails } = settings;
    const { session, state: after } = await openAccount({ server, state, emails, clock }, signal);
    const isRolled = after.key !== state.key;
    const sealedKey = isRolled ? (record.sealedNextKey ?? record.sealedKey) : record.sealedKey;
    const isChanged = isRolled || after.url !== state.url || after.contact.join() !== state.contact.join();
    if (isChanged) {
      await write(stored, {
        ...record,
        sealedKey,
        sealedNextKey: after.nextKey === null ? null : record.sealedNextKey,
        url: after.url,
        contact: after.contact,
        failures: 0,
        lastError: null,
        notBeforeMs: 0,
      });
      log.info({ account: after.url, isKeyNew: isRolled }, 'the account at the ACME server is ready');
    }
    opened = { uid: record.uid, sealedKey, session };
    return session;
  }

  async function make(): Promise<Stored<'acme-account'>> {
    const uid = randomUUID();
    const value: AcmeAccountRecord = {
      uid,
      sealedKey: vault.seal(makePrivateKey(), uid),
      sealedNextKey: null,
      url: null,
      contact: [],
      failures: 0,
      lastError: null,
      notBeforeMs: 0,
    };
    await store.commit({
      puts: [{ kind: 'acme-account', key, expected: 'absent', value, tenant: '', indexes: [] }],
      fence: term.fence,
    });
    const stored = await store.get('acme-account', key);
    if (stored === null) throw new LostOwnership('the account record no longer exists');
    return stored;
  }

  async function write({ revision }: Stored<'acme-account'>, changed: AcmeAccountRecord): Promise<void> {
    const result = await store.commit({
      puts: [{ kind: 'acme-account', key, expected: revision, value: changed, tenant: '', indexes: [] }],
      fence: term.fence,
    });
    if (result.kind === 'fenced') throw fencedOff(term);
    if (result.kind !== 'committed') throw new LostOwnership('the account record was modified concurrently');
  }

  return {
    session(signal) {
      opening ??= open(signal).finally(() => (opening = null));
      return opening;
    },

    async pausedUntilMs() {
      const notBeforeMs = (await store.get('acme-account', key))?.value.notBeforeMs ?? 0;
      return isRetryTime(notBeforeMs, clock.now()) ? 0 : notBeforeMs;
    },

    async failed(error) {
      const stored = await store.get('acme-account', key);
      if (stored === null) return;
      const nowMs = clock.now();
      // Several orders fail together: that is one failure.
      if (!isRetryTime(stored.value.notBeforeMs, nowMs)) return;
      const failures = stored.value.failures + 1;
      // A rate limit for one name is no reason to delay all the others.
      const retryAfterMs = error instanceof AcmeError && error.fault !== 'limited' ? error.retryAfterMs : null;
      const isGone = error instanceof AcmeError && error.problem === 'accountDoesNotExist';
      const notBeforeMs = accountRetryAtMs({
        failures,
        nowMs,
        retryAfterMs,
        fraction: fractionOf(`${key} ${failures}`),
      });
      const message = messageOf(error);
      const url = isGone ? null : stored.value.url;
      opened = null;
      await write(stored, { ...stored.value, url, failures, notBeforeMs, lastError: { atMs: nowMs, message } });
      log.warn(
        { error: message, failures, againAt: new Date(notBeforeMs).toISOString() },
        'the ACME server is unavailable',
      );
    },

    async succeeded() {
      const stored = await store.get('acme-account', key);
      if (stored === null || stored.value.failures === 0) return;
      await write(stored, { ...stored.value, failures: 0, lastError: null, notBeforeMs: 0 });
    },
  };
}

/** For people: nothing of a key or of what was sealed. */
export function messageOf(error: unknown): string {
  if (error instanceof PodgateError && error.code === 'vault.cannot-open') {
    return 'its private key cannot be decrypted: restore the key that encrypted it to the keyring (PODGATE_SECRET_KEY_FILE)';
  }
  return error instanceof PodgateError ? error.publicMessages.join(' ') : errorText(error);
}
