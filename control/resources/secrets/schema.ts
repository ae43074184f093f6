import { z } from 'zod';

import { SECRET_ID } from '../../../core/placeholders.ts';
import { asciiText } from '../../http/ascii-text.ts';
import { boundedText } from '../../http/bounded.ts';

/** A variable, and so the longest secret that a pod could use, has no more characters. */
const VALUE_MAX_LENGTH = 32_768;
const DESCRIPTION_MAX_LENGTH = 500;

const description = asciiText('description', DESCRIPTION_MAX_LENGTH);

const secretValue = boundedText(VALUE_MAX_LENGTH)
  .min(1)
  .refine((text) => !text.includes('\0'), 'must not contain NUL bytes');

export const NewSecret = z
  .strictObject({
    secret_id: boundedText(100).regex(
      SECRET_ID,
      'must contain only letters, digits, "_" and "-", and must start with a letter or a digit',
    ),
    secret_value: secretValue.describe('Stored encrypted.'),
    scope: z.enum(['user', 'pod']).optional().describe('pod: only the pod of pod_id can use it. Default: user.'),
    pod_id: boundedText(63)
      .regex(/^[a-z][a-z0-9]+$/, 'must be the id of a pod')
      .nullable()
      .optional()
      .describe('With scope pod: which one. It need not exist yet.'),
    description: description.optional(),
    readable: z
      .boolean()
      .optional()
      .describe('false: the API does not give the value back; pods get it nonetheless. Default: true.'),
    writable: z.boolean().optional().describe('false: the value cannot be replaced. Default: true.'),
  })
  .meta({
    examples: [{ secret_id: 'apikey', secret_value: 'correct horse battery staple', description: 'For tests.' }],
  });

export const UpdateSecret = z
  .strictObject({
    description: description.nullable().optional(),
    secret_value: secretValue.nullable().optional(),
  })
  .meta({ examples: [{ description: 'For tests and demonstrations.' }] });

export const SecretAnswer = z.object({
  secret_id: z.string(),
  scope: z.enum(['user', 'pod']),
  pod_id: z.string().nullable(),
  description: z.string(),
  readable: z.boolean(),
  writable: z.boolean(),
  sk_secret_name: z.string().describe('As the Tapis Security Kernel would call it.'),
  creation_ts: z.iso.datetime(),
  update_ts: z.iso.datetime(),
  added_by: z.string(),
});

export const SecretValueAnswer = z.object({ secret_id: z.string(), secret_value: z.string() });
