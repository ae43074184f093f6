import { z } from 'zod';

/** A text for people, of ASCII characters. The first words of a refusal are those that Tapis clients look for. */
export function asciiText(field: string, maxLength: number) {
  return z
    .string()
    .refine((value) => value.length <= maxLength, {
      error: `${field} field must be less than ${maxLength} characters (${maxLength} at most)`,
      abort: true,
    })
    .regex(/^[\x20-\x7e\t\r\n]*$/, 'must contain only ASCII characters');
}
