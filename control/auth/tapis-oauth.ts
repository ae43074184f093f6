import { readFile } from 'node:fs/promises';

import type { OauthClient } from '../../core/oauth-client.ts';
import { boundedText } from './bounded-text.ts';

const CALL_MS = 10_000;
const ANSWER_MAX_BYTES = 64 * 1024;

/**
 * The token endpoint of Tapis (`/v3/oauth2/tokens`): Basic credentials of the client, and no PKCE. Errors do not contain
 * what the server says: it repeats the client's key.
 */
export async function exchangeTapisCode(
  { clientId, tokenEndpoint }: OauthClient,
  clientKeyFile: string,
  { code, redirectUri }: { readonly code: string; readonly redirectUri: string },
): Promise<string> {
  const clientKey = (await readFile(clientKeyFile, 'utf8')).trim();
  const response = await fetch(tokenEndpoint, {
    method: 'POST',
    redirect: 'error',
    signal: AbortSignal.timeout(CALL_MS),
    headers: {
      accept: 'application/json',
      authorization: `Basic ${Buffer.from(`${clientId}:${clientKey}`).toString('base64')}`,
    },
    body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: redirectUri }),
  });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new Error(`the token endpoint returned status ${response.status}`);
  }
  const text = await boundedText(response, ANSWER_MAX_BYTES);
  if (text === null) throw new Error('the response of the token endpoint is too large');
  const token = tokenIn(text);
  if (token === null) throw new Error('the token endpoint returned no result.access_token.access_token');
  return token;
}

/** One level deeper than in RFC 6749 5.1. Null: none is there; the text of a parser's error would quote the response. */
function tokenIn(text: string): string | null {
  try {
    let value: unknown = JSON.parse(text);
    for (const name of ['result', 'access_token', 'access_token']) {
      if (typeof value !== 'object' || value === null) return null;
      value = (value as Readonly<Record<string, unknown>>)[name];
    }
    return typeof value === 'string' && value !== '' ? value : null;
  } catch {
    return null;
  }
}
