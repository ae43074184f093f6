import type { StatusNames } from '../../../core/pod.ts';
import type { RecordKind, RecordTypes } from '../../../core/store.ts';
import type { Caller } from '../../auth/authenticator.ts';
import type { ObjectRecord } from '../object-kind.ts';

/** Kinds of record that users own and share. */
export type ObjectRecordKind = {
  [K in RecordKind]: RecordTypes[K] extends ObjectRecord ? K : never;
}[RecordKind];

/** Whose changes a stream shows. */
export interface ChangesView {
  readonly caller: Caller;
  /** An administrator who asked to see what belongs to others as well. */
  readonly isAdminView: boolean;
  readonly statusNames: StatusNames;
}

/** A kind of object whose changes are shown as events. */
export interface ObservedKind<K extends ObjectRecordKind = ObjectRecordKind> {
  readonly kind: K;
  /** Name of the events: `pod`. */
  readonly noun: string;
  idOf(record: RecordTypes[K]): string;
  /** What an event says of the object beside its id. */
  summaryOf(record: RecordTypes[K], view: ChangesView): Readonly<Record<string, unknown>>;
  /** The ids of all objects on which the caller has a permission. */
  visibleIds(caller: Caller): AsyncIterable<string>;
}
