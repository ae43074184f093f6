import { z } from 'zod';

import { asciiText } from '../../http/ascii-text.ts';
import { boundedList, boundedText } from '../../http/bounded.ts';

/** Entries of one bulk call. */
const BULK_MAX = 200;
const TENANTS_MAX = 100;

const image = boundedText(256)
  .min(1)
  .regex(/^[\x21-\x7e]+$/, 'must contain only printable ASCII characters and no spaces');
const tenants = boundedList(
  boundedText(130).regex(/^(\*|\*\*|-?[a-z0-9][a-z0-9-]*)$/, 'must be the id of a tenant, -id or *'),
  TENANTS_MAX,
).describe('Ids of tenants that may use it; * = all; -id = not this one. Empty: your own.');
const description = asciiText('description', 2_048);

export const NewImage = z
  .strictObject({
    image: image.describe('Without a tag, every tag is allowed.'),
    tenants: tenants.default([]),
    description: description.default(''),
  })
  .meta({ examples: [{ image: 'library/redis', description: 'Redis, as published by its makers.' }] });

export const NewImages = boundedList(NewImage, BULK_MAX).meta({
  examples: [[{ image: 'library/httpd' }, { image: 'library/memcached' }]],
});

export const UpdateImage = z
  .strictObject({
    tenants: tenants.nullish(),
    description: description.nullish(),
  })
  .meta({ examples: [{ description: 'Redis.' }] });

export const ImageAnswer = z.object({
  image: z.string(),
  tenants: z.array(z.string()),
  description: z.string(),
  creation_ts: z.iso.datetime().nullable().describe('Null for the images of the configuration.'),
  added_by: z.string(),
});
