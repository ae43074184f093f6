import type { z } from 'zod';

import { camelCase, type CamelFields, camelFields } from '../../http/camel-fields.ts';
import { checkFields } from '../../http/field-checks.ts';
import type { PodSchemas } from './schema.ts';

/** The fields of a create or an update as the user wrote them: a field that is not there was not written. */
export type PodFields = CamelFields<Partial<z.output<PodSchemas['NewPod']>>>;
export type WrittenStanza = NonNullable<PodFields['networking']>[string];
export type WrittenVolumeMount = NonNullable<NonNullable<PodFields['volumeMounts']>[string]>;

/**
 * What came of checking the shape of a body: the fields that are as they must be, and a sentence about each that is
 * not. The rules that look at several fields add theirs, so that a user hears of everything at once.
 */
export interface WrittenPod {
  readonly fields: PodFields;
  readonly problems: readonly string[];
  /** The fields that have a problem: rules say no more about them. */
  readonly refused: ReadonlySet<keyof PodFields>;
}

/** A body of create, or of update, in the words of the rules. */
export function writtenPodOf(schema: PodSchemas['NewPod'] | PodSchemas['UpdatePod'], body: unknown): WrittenPod {
  // What an update takes, a create takes as well, but for the id.
  const { values, problems, refused } = checkFields(schema as PodSchemas['NewPod'], body);
  return {
    fields: camelFields(schema, values),
    problems,
    refused: new Set([...refused].map(camelCase) as (keyof PodFields)[]),
  };
}
