import { randomUUID } from 'node:crypto';
import type { ChallengeTextRecord } from '../../../core/certificates.ts';
import type { Clock } from '../../../core/clock.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Store, Stored } from '../../../core/store.ts';

const LIST_MAX = 1_000;

/** The texts that were written, in the store: who is killed leaves nothing in the DNS for ever. */
export interface RememberedTexts {
  remember(text: Pick<ChallengeTextRecord, 'host' | 'name' | 'value'>): Promise<ChallengeTextRecord>;
  forget(uid: string): Promise<void>;
  all(): Promise<readonly ChallengeTextRecord[]>;
}

export function createRememberedTexts(store: Pick<Store, 'get' | 'list' | 'commit'>, clock: Clock): RememberedTexts {
  return {
    async remember(text) {
      const value: ChallengeTextRecord = { ...text, uid: randomUUID(), createdAtMs: clock.now() };
      const result = await store.commit({
        puts: [{ kind: 'challenge-text', key: value.uid, expected: 'absent', value, tenant: '', indexes: [] }],
      });
      if (result.kind === 'committed') return value;
      throw new PodgateError('store.unavailable', { detail: 'failed to store a DNS record to remove later' });
    },
    async forget(uid) {
      const present = await store.get('challenge-text', uid);
      // One that is gone, or changes at this moment, is another's to forget.
      if (present === null) return;
      await store.commit({ deletes: [{ kind: 'challenge-text', key: uid, expected: present.revision, uid }] });
    },
    async all() {
      const records: readonly Stored<'challenge-text'>[] = await store.list('challenge-text', { limit: LIST_MAX });
      return records.map(({ value }) => value);
    },
  };
}
