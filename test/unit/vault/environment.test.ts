import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';

import { resealPods } from '../../../control/vault/reseal-pods.ts';
import { createKeyringVault } from '../../../control/vault/keyring-vault.ts';
import { openSqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { recordOfAnnotation, RECORD_SCHEMAS, decodeRecord } from '../../../control/store/record-schema.ts';
import { hideEnvironment, openEnvironment, resealEnvironment, sealEnvironment } from '../../../core/environment.ts';
import { podKey } from '../../../core/ids.ts';
import { podPut } from '../../../core/pod-put.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';

const keyOf = (id: string) => ({ id, secret: randomBytes(32) });
const [oldKey, newKey] = [keyOf('old'), keyOf('new')];
const before = createKeyringVault([oldKey]);
const after = createKeyringVault([newKey, oldKey]);
const alone = createKeyringVault([newKey]);
const VALUES = { PASSWORD: 'hunter2', EMPTY: '', __proto__x: 'ok' };

describe('environment variables', () => {
  test('are sealed by value, for one pod and one name', () => {
    const stored = sealEnvironment(before, 'uid-1', VALUES, {});
    expect(JSON.stringify(stored)).not.toContain('hunter2');
    expect(Object.keys(stored)).toEqual(Object.keys(VALUES));
    expect(openEnvironment(before, 'uid-1', stored)).toEqual(VALUES);
    expect(() => openEnvironment(before, 'uid-2', stored)).toThrow();
    const { PASSWORD } = stored;
    if (PASSWORD === undefined) throw new Error('no value');
    expect(() => openEnvironment(before, 'uid-1', { EMPTY: PASSWORD })).toThrow();
    expect(hideEnvironment(stored)).toEqual({ PASSWORD: '********', EMPTY: '********', __proto__x: '********' });
  });

  test('that are written again unchanged stay as they are, so that nothing seems to have changed', () => {
    const stored = sealEnvironment(before, 'uid-1', VALUES, {});
    expect(sealEnvironment(before, 'uid-1', VALUES, stored)).toEqual(stored);
    const changed = sealEnvironment(before, 'uid-1', { ...VALUES, EMPTY: 'no' }, stored);
    expect(changed['PASSWORD']).toEqual(stored['PASSWORD']);
    expect(changed['EMPTY']).not.toEqual(stored['EMPTY']);
    // What no key opens any more is repaired by writing it.
    expect(openEnvironment(alone, 'uid-1', sealEnvironment(alone, 'uid-1', VALUES, stored))).toEqual(VALUES);
  });

  test('of an earlier release are read unsealed, and sealed when secrets are resealed', () => {
    expect(openEnvironment(before, 'uid-1', VALUES)).toEqual(VALUES);
    const resealed = resealEnvironment(before, 'uid-1', VALUES);
    if (resealed === null) throw new Error('left as plain text');
    expect(JSON.stringify(resealed)).not.toContain('hunter2');
    expect(openEnvironment(before, 'uid-1', resealed)).toEqual(VALUES);
    expect(resealEnvironment(before, 'uid-1', resealed)).toBeNull();
  });

  test('in records and annotations of version 2 are plain text, and readable', () => {
    const json = JSON.stringify(podRecord({ spec: podSpec({ environmentVariables: VALUES }) }));
    expect(decodeRecord(RECORD_SCHEMAS, 'pod', 'default/mypod', { schema: 2, json }).spec.environmentVariables).toEqual(
      VALUES,
    );
    expect(recordOfAnnotation(json)?.spec.environmentVariables).toEqual(VALUES);
    const sealed = sealEnvironment(before, 'uid-1', VALUES, {});
    const annotation = JSON.stringify(podRecord({ spec: podSpec({ environmentVariables: sealed }) }));
    expect(recordOfAnnotation(annotation)?.spec.environmentVariables).toEqual(sealed);
  });
});

test('after a key was put first, pods and credentials are sealed with it and the old key can be taken out', async () => {
  const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
  const database = openSqliteDatabase({ path: ':memory:', clock, log: silentLog });
  const { store } = database;
  try {
    const record = podRecord({ uid: 'uid-1', spec: podSpec({ environmentVariables: VALUES }) });
    const sealedSpec = podSpec({ environmentVariables: sealEnvironment(before, 'uid-2', VALUES, {}) });
    const other = podRecord({ uid: 'uid-2', podId: 'other', spec: sealedSpec, generation: 7 });
    const lost = podRecord({
      uid: 'uid-3',
      podId: 'third',
      spec: podSpec({
        environmentVariables: sealEnvironment(createKeyringVault([keyOf('lost')]), 'uid-3', VALUES, {}),
      }),
    });
    const credential = { uid: 'uid-2', tenant: 'default', podId: 'other', sealed: before.seal('secret', 'uid-2') };
    await store.commit({
      puts: [
        ...[record, other, lost].map((each) => podPut(each, 'absent')),
        {
          kind: 'credential',
          key: 'default/other',
          expected: 'absent',
          value: credential,
          tenant: 'default',
          indexes: [],
        },
      ],
    });
    await resealPods({ store, vault: after, log: silentLog }, { isOver: () => false });
    for (const { podId, uid } of [record, other]) {
      const stored = await store.get('pod', podKey('default', podId));
      if (stored === null) throw new Error(`no ${podId}`);
      for (const spec of [stored.value.spec, stored.value.applied?.spec ?? podSpec()]) {
        expect(JSON.stringify(spec)).not.toContain('hunter2');
        expect(openEnvironment(alone, uid, spec.environmentVariables)).toEqual(VALUES);
      }
    }
    // No new generation: nothing has changed for anyone.
    expect((await store.get('pod', 'default/other'))?.value).toMatchObject({ generation: 7 });
    expect((await store.get('pod', 'default/third'))?.value.spec).toEqual(lost.spec);
    const resealed = (await store.get('credential', 'default/other'))?.value.sealed ?? '';
    expect(alone.open(resealed, 'uid-2')).toBe('secret');
    const { commits } = await store.identity();
    await resealPods({ store, vault: after, log: silentLog }, { isOver: () => false });
    expect((await store.identity()).commits).toBe(commits);
  } finally {
    database.close();
  }
});
