import { z } from 'zod';

/** A text for people, of ASCII characters. The refusals begin with the words that Tapis clients match on. */
export function asciiText(field: string, maxLength: number) {
  return z
    .string()
    .refine((value) => value.length <= maxLength, {
      error: ({ input }) =>
        `${field} field must be less than ${maxLength} characters. It has ${String(input).length}; ${maxLength} are allowed.`,
      abort: true,
    })
    .regex(/^[\x20-\x7e\t\r\n]*$/, `${field} field may only contain ASCII characters.`);
}
