import { describe, expect, it } from 'vitest';
import { decodeRecord, encodeRecord, recordKind, RECORD_SCHEMAS } from '../../../control/store/record-schema.ts';
import type { PodSpec } from '../../../core/pod.ts';
import { podRecord } from '../../support/pod-records.ts';

describe('record schemas', () => {
  it('give back what was written', () => {
    const record = podRecord();
    const encoded = encodeRecord(RECORD_SCHEMAS, 'pod', record);
    expect(decodeRecord(RECORD_SCHEMAS, 'pod', 'key', encoded)).toEqual(record);
  });

  it('take an old record through every upgrade up to today, in order', () => {
    const schemas = {
      ...RECORD_SCHEMAS,
      pod: {
        version: 3,
        upgrades: {
          1: (value: unknown) => ({ ...(value as object), run: 10 }),
          2: (value: unknown) => ({ ...(value as object), attempts: (value as { run: number }).run + 1 }),
        },
      },
    };
    const old = { schema: 1, json: JSON.stringify({ podId: 'old' }) };
    expect(decodeRecord(schemas, 'pod', 'key', old)).toEqual({ podId: 'old', run: 10, attempts: 11 });
    const recent = { schema: 2, json: JSON.stringify({ podId: 'recent', run: 1 }) };
    expect(decodeRecord(schemas, 'pod', 'key', recent)).toEqual({ podId: 'recent', run: 1, attempts: 2 });
    expect(encodeRecord(schemas, 'pod', podRecord()).schema).toBe(3);
  });

  it('know the records of the first release', () => {
    const oldSpec: Partial<PodSpec> = { ...podRecord().spec };
    delete (oldSpec as { volumeMounts?: unknown }).volumeMounts;
    const old = { ...podRecord(), spec: oldSpec, applied: { generation: 1, run: 1, spec: oldSpec } };
    const decoded = decodeRecord(RECORD_SCHEMAS, 'pod', 'dev/a', { schema: 1, json: JSON.stringify(old) });
    expect(decoded).toEqual(podRecord());
    const neverStarted = { ...old, applied: null };
    expect(decodeRecord(RECORD_SCHEMAS, 'pod', 'dev/a', { schema: 1, json: JSON.stringify(neverStarted) })).toEqual(
      podRecord({ applied: null }),
    );
  });

  it('refuse what a newer release wrote, and what is too old, with a sentence', () => {
    const schemas = { ...RECORD_SCHEMAS, pod: { version: 2, upgrades: {} } };
    const decode = (schema: number) => () => decodeRecord(schemas, 'pod', 'dev/a', { schema, json: '{}' });
    expect(decode(3)).toThrow('The pod record dev/a was written by a newer release (version 3, here 2).');
    expect(decode(1)).toThrow('too old');
    expect(() => recordKind(schemas, 'nothing')).toThrow('unknown kind nothing');
    expect(() => recordKind(schemas, 'toString')).toThrow('unknown kind toString');
  });

  it('refuse text that is not JSON without quoting it', () => {
    const decode = (): unknown => decodeRecord(RECORD_SCHEMAS, 'pod', 'dev/a', { schema: 1, json: 'hunter2' });
    expect(decode).toThrow('not JSON');
    expect(decode).not.toThrow('hunter2');
  });
});
