import { z } from 'zod';

/**
 * Digits in a string are a number, in every body: web forms of the Tapis interface send them, and Tapis takes them for any
 * of its numbers.
 */
export function numeric<T extends z.ZodType>(schema: T) {
  return z.preprocess(
    (value) => (typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value),
    schema,
  );
}
