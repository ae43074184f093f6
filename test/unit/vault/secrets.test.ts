import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';

import { openSqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { createKeyringVault } from '../../../control/vault/keyring-vault.ts';
import { resealPods } from '../../../control/vault/reseal-pods.ts';
import { openEnvironment, sealEnvironment } from '../../../core/environment.ts';
import { podPut } from '../../../core/pod-put.ts';
import { openSecrets } from '../../../core/resolve-secrets.ts';
import { secretContext, type SecretRecord } from '../../../core/secret.ts';
import { mappedSecretContext } from '../../../core/secret-map.ts';
import { secretPut } from '../../../core/secret-put.ts';
import { templateTagPut } from '../../../core/template-put.ts';
import { templateTagKey, type TemplateTagRecord } from '../../../core/template-record.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';

test('secrets, random values and variables of template tags are sealed with the first key, and open with it alone', async () => {
  const [old, first] = ['old', 'new'].map((id) => ({ id, secret: randomBytes(32) }));
  if (old === undefined || first === undefined) throw new Error('no keys');
  const before = createKeyringVault([old]);
  const secret: SecretRecord = {
    ...{ uid: 'secret-1', tenant: 'default', secretId: 'pass', createdBy: 'alice', scope: 'user', podId: null },
    ...{ description: '', readable: true, writable: true, generation: 1, deleting: null },
    sealed: before.seal('hunter2', secretContext({ uid: 'secret-1' })),
    permissions: { alice: 'ADMIN' },
    createdAtMs: 0,
    updatedAtMs: 0,
  };
  const record = podRecord({
    uid: 'uid-1',
    spec: podSpec({
      secretMap: {
        PASS: { reference: '${secret:pass}', by: 'alice' },
        WORD: {
          reference: '${pods:random:8}',
          by: 'alice',
          sealed: before.seal('abcdefgh', mappedSecretContext('uid-1', 'WORD')),
        },
      },
    }),
  });
  const tag: TemplateTagRecord = {
    ...{ uid: 'tag-1', tenant: 'default', templateId: 'lab', createdBy: 'alice', tag: 'latest', createdAtMs: 0 },
    ...{ commitMessage: '', definition: { image: 'x' }, parent: null },
    environmentVariables: sealEnvironment(before, 'tag-1', { TOKEN: 'open sesame' }, {}),
  };
  const database = openSqliteDatabase({
    path: ':memory:',
    clock: { now: () => 0, monotonicMs: () => 0 },
    log: silentLog,
  });
  try {
    const { store } = database;
    await store.commit({
      puts: [secretPut(secret, 'absent'), podPut(record, 'absent'), templateTagPut(tag, 'absent')],
    });
    const alone = { store, vault: createKeyringVault([first]) };
    const opened = async () => {
      const stored = await store.get('pod', `${record.tenant}/${record.podId}`);
      return await openSecrets(alone, record, stored?.value.spec ?? podSpec());
    };
    expect(await opened()).toMatchObject({ kind: 'failed' });
    await resealPods({ store, vault: createKeyringVault([first, old]), log: silentLog }, { isOver: () => false });
    const resealed = await store.get('template-tag', templateTagKey(tag));
    const variables = resealed?.value.environmentVariables ?? {};
    expect(openEnvironment(alone.vault, 'tag-1', variables)).toEqual({ TOKEN: 'open sesame' });
    expect(await opened()).toEqual({
      kind: 'opened',
      values: { PASS: { value: 'hunter2', isReadable: true }, WORD: { value: 'abcdefgh', isReadable: true } },
    });
  } finally {
    database.close();
  }
});
