import { z } from 'zod';
import type { CorsConfig } from './config.ts';

const ORIGIN_RULE = 'must be an origin, such as https://tacc.tapis.io (no path, no trailing slash), or "*"';

/** Web pages of other origins that may call the API. Off by default. */
export const corsSection = z
  .strictObject({
    origins: z
      .array(z.string().refine(isOrigin, { error: ORIGIN_RULE }))
      .max(100)
      .default([]),
    credentials: z.boolean().default(false),
    maxAgeSeconds: z.int().min(0).max(86_400).default(600),
  })
  .prefault({});

export function corsConfigOf(section: z.infer<typeof corsSection>, problems: string[]): CorsConfig | null {
  const isAny = section.origins.includes('*');
  if (isAny && section.credentials) {
    problems.push(
      'PODGATE_CONFIG cors: credentials cannot be combined with the origin "*": every page on the web could act for your ' +
        'users. List the origins instead.',
    );
  }
  if (isAny && section.origins.length > 1) {
    problems.push('PODGATE_CONFIG cors.origins: "*" includes every other origin; list it alone.');
  }
  return section.origins.length === 0 ? null : section;
}

function isOrigin(text: string): boolean {
  if (text === '*') return true;
  try {
    const url = new URL(text);
    return (url.protocol === 'https:' || url.protocol === 'http:') && url.origin === text;
  } catch {
    return false;
  }
}
