import { isDeepStrictEqual } from 'node:util';

import { z } from 'zod';

import { boundedText } from '../../http/bounded.ts';

const URI_MAX_LENGTH = 2_048;
const LINK_TEXT_MAX_LENGTH = 255;

/** Clients that send every field of an update send null for those they leave alone. */
export function nullAsAbsent<T extends z.ZodType>(schema: T) {
  return z.preprocess((value) => value ?? undefined, schema);
}

/** 0 means that nothing was set, as in the seed. */
export function zeroAsNull<T extends z.ZodType>(schema: T) {
  return z.preprocess((value) => (value === 0 || value === '0' ? null : value), schema);
}

/**
 * A field of the newer API for what this release does not do. Its clients send it with a value that asks for nothing: that
 * is accepted and dropped. Any other value is refused, so that nobody relies on what is not there.
 */
function notBuilt(what: string, ...idle: readonly unknown[]) {
  const [shown] = idle;
  return z
    .unknown()
    .refine(
      (value) => value === undefined || value === null || idle.some((one) => isDeepStrictEqual(one, value)),
      `${what} is not available in this release; send ${JSON.stringify(shown)} or leave the field out`,
    )
    .optional()
    .describe(`Accepted at its default only: ${what} is not available.`);
}

/** Of a pod. */
export const idlePodFields = {
  compute_queue: notBuilt('choosing a compute queue', 'default', ''),
};

/** Of an entry of volume_mounts. */
export const idleMountFields = {
  config_content: notBuilt('writing configuration files', ''),
  config_permissions: notBuilt('writing configuration files', '0644'),
  config_filename: notBuilt('writing configuration files', ''),
  config_update_mode: notBuilt('writing configuration files', 'always'),
};

/** Of an entry of networking. */
export const idleStanzaFields = {
  // A client chooses what its path ends with, and expressions can take a gateway minutes.
  tapis_auth_excluded_path_regex: notBuilt(
    'excluding paths from the login by regular expression (tapis_auth_excluded_paths names paths)',
    [],
  ),
  cors_allow_origins: notBuilt('answering CORS for the pod', []),
  cors_allow_methods: notBuilt('answering CORS for the pod', []),
  cors_allow_headers: notBuilt('answering CORS for the pod', []),
  cors_allow_credentials: notBuilt('answering CORS for the pod', false),
  cors_max_age: notBuilt('answering CORS for the pod', 100),
  // True is what these clients send for "compress if you can".
  proxy_compression: notBuilt('compressing responses', true, false),
  proxy_compression_encodings: notBuilt('compressing responses', ['zstd', 'br', 'gzip'], []),
  proxy_compression_excluded_content_types: notBuilt('compressing responses', []),
  proxy_compression_min_response_body_bytes: notBuilt('compressing responses', 1_024),
};

/** The link by which the Tapis interface opens a pod. Stored and returned; the gateway does nothing with it. */
export const linkFields = {
  tapis_ui_uri: boundedText(URI_MAX_LENGTH).optional().describe('Path that the Tapis interface opens.'),
  tapis_ui_uri_redirect: z.boolean().optional().describe('Whether it goes there itself instead of showing a frame.'),
  tapis_ui_uri_description: boundedText(LINK_TEXT_MAX_LENGTH).optional().describe('What the link is for.'),
};
