import type { z } from 'zod';

import { PodgateError } from '../../core/errors.ts';
import { type CamelFields, camelFields } from './camel-fields.ts';
import { checkFields } from './field-checks.ts';

/** The fields of a body under their names in the code. Throws 'api.invalid' with a sentence about each that is wrong. */
export function checkedBody<S extends z.core.$ZodShape>(
  schema: z.ZodObject<S>,
  body: unknown,
): CamelFields<z.output<z.ZodObject<S>>> {
  const { values, problems } = checkFields(schema, body);
  if (problems.length > 0) throw new PodgateError('api.invalid', { publicMessages: problems });
  // Every field is as its schema wants it: what is missing may be.
  return camelFields(schema, values) as unknown as CamelFields<z.output<z.ZodObject<S>>>;
}
