import * as oauth from 'oauth4webapi';

import { errorText, PodgateError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { OauthClient } from '../../core/oauth-client.ts';
import type { TenantPlace } from '../../core/tenant-place.ts';
import { hostName } from './authenticator.ts';
import { exchangeTapisCode } from './tapis-oauth.ts';

const CALL_MS = 10_000;

/** Where browsers come back to that log in to the console. */
export const CONSOLE_CALLBACK_PATH = '/console/oauth/callback';

export interface OauthTenant {
  readonly baseHost: string;
  readonly issuer: string;
  readonly oauth: OauthClient;
}

/** What has to be remembered of a login until the browser is back. */
export interface StartedFlow {
  readonly state: string;
  /** Of PKCE; unused with Tapis. */
  readonly verifier: string;
  readonly redirectUri: string;
}

/** The tenant of that host, or the default one. Throws 'api.not-found' where it has no OAuth. */
export function oauthTenantOf(tenants: readonly TenantPlace[], host: string): OauthTenant {
  const tenant = tenants.find(({ baseHost }) => baseHost === hostName(host)) ?? tenants[0];
  const { baseHost, issuer, oauth: client } = tenant ?? {};
  if (baseHost === undefined || issuer === undefined || client === undefined || client === null) throw unavailable();
  return { baseHost, issuer, oauth: client };
}

/**
 * Authorization code with a state, and PKCE unless it is Tapis, which does not know it: where the browser goes. Throws
 * 'api.not-found' without such an endpoint.
 */
export async function beginCodeFlow(
  client: OauthClient,
  redirectUri: string,
): Promise<{ readonly location: string; readonly started: StartedFlow }> {
  if (client.authorizationEndpoint === null) throw unavailable();
  const state = oauth.generateRandomState();
  const verifier = oauth.generateRandomCodeVerifier();
  const location = new URL(client.authorizationEndpoint);
  const parameters = {
    ...(client.scope === null ? {} : { scope: client.scope }),
    ...{ client_id: client.clientId, response_type: 'code', redirect_uri: redirectUri, state },
    ...(client.tapis !== null
      ? {}
      : { code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }),
  };
  for (const [name, value] of Object.entries(parameters)) location.searchParams.set(name, value);
  return { location: location.href, started: { state, verifier, redirectUri } };
}

/**
 * The browser is back: exchanges the code for a token. Null: the server has said no. Throws 'api.unauthenticated', which
 * counts as a failed login.
 */
export async function endCodeFlow(
  { issuer, oauth: client }: OauthTenant,
  { state, verifier, redirectUri }: StartedFlow,
  query: URLSearchParams,
  log: Logger,
): Promise<string | null> {
  const as: oauth.AuthorizationServer = { issuer, token_endpoint: client.tokenEndpoint };
  const party: oauth.Client = { client_id: client.clientId };
  try {
    const back = new URL(`${redirectUri}?${query.toString()}`);
    const parameters = oauth.validateAuthResponse(as, party, back, state);
    if (client.tapis !== null) {
      const code = parameters.get('code') ?? '';
      return await exchangeTapisCode(client, client.tapis.clientKeyFile, { code, redirectUri });
    }
    const answer = await oauth.authorizationCodeGrantRequest(
      ...([as, party, oauth.None(), parameters, redirectUri, verifier] as const),
      {
        signal: AbortSignal.timeout(CALL_MS),
        // The configuration allows http on loopback alone. Marked as deprecated to stand out.
        // eslint-disable-next-line @typescript-eslint/no-deprecated
        [oauth.allowInsecureRequests]: client.tokenEndpoint.startsWith('http:'),
      },
    );
    return (await oauth.processAuthorizationCodeResponse(as, party, answer)).access_token;
  } catch (error) {
    // Neither codes nor tokens are in its text.
    log.info({ error: errorText(error) }, 'an OAuth login failed');
    if (error instanceof oauth.AuthorizationResponseError) return null;
    throw new PodgateError('api.unauthenticated', {
      publicMessages: ['The OAuth server has not confirmed the login.'],
    });
  }
}

function unavailable(): PodgateError {
  return new PodgateError('api.not-found', {
    publicMessages: ['This tenant has no login in the browser: use a token.'],
  });
}
