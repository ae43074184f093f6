import { z } from 'zod';

import { numeric } from '../../http/numeric.ts';

const DESCRIPTION_MAX_LENGTH = 255;
export const ID_MAX_LENGTH = 128;

/** The messages are those that Tapis clients look for. */
export const description = z
  .string()
  .refine((value) => value.length <= DESCRIPTION_MAX_LENGTH, {
    error: `description field must be less than ${DESCRIPTION_MAX_LENGTH} characters. It may have ${DESCRIPTION_MAX_LENGTH}.`,
    abort: true,
  })
  .regex(/^[\x20-\x7e\t\r\n]*$/, 'description field may only contain ASCII characters');

export const filesId = (what: string) =>
  z
    .string()
    .min(3)
    .max(ID_MAX_LENGTH, { abort: true })
    .regex(/^[a-z][a-z0-9]+$/, 'must start with a lowercase letter and contain only lowercase letters and digits')
    .describe(what);

/** `most`: MiB, set by the operator. */
export const sizeLimit = (most: number) =>
  numeric(z.int().min(1).max(most)).describe('MB (1024 * 1024 bytes). Nothing is written beyond it.');

export const SIZE_LIMIT_DEFAULT_MIB = 1_024;
