import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as oauth from 'oauth4webapi';
import { pause } from '../../core/abort.ts';
import { errorText } from '../../core/errors.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { browse } from '../output/browse.ts';

/** As `GET /v3/oauth-client` returns it. */
export interface OauthServer {
  readonly issuer: string;
  /** Absent in earlier releases. */
  readonly type?: 'standard' | 'tapis';
  readonly client_id: string;
  readonly token_endpoint: string;
  readonly authorization_endpoint: string | null;
  readonly device_authorization_endpoint: string | null;
  readonly scope: string | null;
}

/** How long the user may take in the browser. */
const LOGIN_MS = 10 * 60_000;
const CALL_MS = 15_000;
const DEFAULT_INTERVAL_S = 5;

/** An access token, by the device flow where there is one, otherwise in the browser of this machine. Throws CliError. */
export async function logInByOauth(server: OauthServer, say: (text: string) => void): Promise<string> {
  try {
    if (server.device_authorization_endpoint !== null) return await logInByDevice(server, say);
    if (server.authorization_endpoint !== null) return await logInByBrowser(server, say);
  } catch (error) {
    if (error instanceof CliError) throw error;
    const isSaid = error instanceof oauth.ResponseBodyError || error instanceof oauth.AuthorizationResponseError;
    const said = isSaid ? [error.error, error.error_description].filter(Boolean).join(': ') : errorText(error);
    throw new CliError(EXIT_FAILED, `the OAuth server at ${new URL(server.token_endpoint).origin} refuses: ${said}`);
  }
  throw new CliError(EXIT_FAILED, 'this installation offers no OAuth login; use a token');
}

/** RFC 8628: the user enters a code in any browser. */
async function logInByDevice(server: OauthServer, say: (text: string) => void): Promise<string> {
  const { as, client, options } = partiesOf(server);
  const asked = await oauth.deviceAuthorizationRequest(as, client, oauth.None(), scopeOf(server), options());
  const device = await oauth.processDeviceAuthorizationResponse(as, client, asked);
  say(`Open ${device.verification_uri} and enter the code ${device.user_code}\n`);
  const endMs = performance.now() + Math.min(LOGIN_MS, device.expires_in * 1_000);
  let intervalMs = (device.interval ?? DEFAULT_INTERVAL_S) * 1_000;
  const never = new AbortController().signal;
  while (performance.now() < endMs) {
    await pause(intervalMs, never);
    const answer = await oauth.deviceCodeGrantRequest(as, client, oauth.None(), device.device_code, options());
    try {
      return (await oauth.processDeviceCodeResponse(as, client, answer)).access_token;
    } catch (error) {
      if (!(error instanceof oauth.ResponseBodyError)) throw error;
      if (error.error === 'slow_down') intervalMs += 5_000;
      else if (error.error !== 'authorization_pending') throw error;
    }
  }
  throw new CliError(EXIT_FAILED, 'the code has expired; log in again');
}

/** RFC 8252: PKCE, a state, and a redirect to a port of loopback that lives as long as the login. */
async function logInByBrowser(server: OauthServer, say: (text: string) => void): Promise<string> {
  const { as, client, options } = partiesOf(server);
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const listener = await listenForRedirect(as, client, state);
  try {
    const url = new URL(server.authorization_endpoint ?? '');
    const parameters = {
      ...scopeOf(server),
      ...{ client_id: server.client_id, response_type: 'code', redirect_uri: listener.redirectUri, state },
      ...{ code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' },
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    say(`Log in in your browser: ${url.href}\n`);
    void browse(url.href);
    const redirected = await listener.redirected;
    const answer = await oauth.authorizationCodeGrantRequest(
      ...([as, client, oauth.None(), redirected, listener.redirectUri, verifier, options()] as const),
    );
    return (await oauth.processAuthorizationCodeResponse(as, client, answer)).access_token;
  } finally {
    listener.close();
  }
}

interface RedirectListener {
  readonly redirectUri: string;
  /** Its parameters, checked against the state. Rejects with what the server says, and when the time is over. */
  readonly redirected: Promise<URLSearchParams>;
  close(): void;
}

async function listenForRedirect(
  as: oauth.AuthorizationServer,
  client: oauth.Client,
  state: string,
): Promise<RedirectListener> {
  const { promise, resolve, reject } = Promise.withResolvers<URLSearchParams>();
  // Awaited later: a rejection before then is not unhandled.
  promise.catch(() => undefined);
  const listener = createServer((request, response) => {
    const end = (status: number, text: string): void => {
      response.writeHead(status, {
        'content-type': 'text/plain; charset=utf-8',
        'cache-control': 'no-store',
        // The code in the URL must not get to another page.
        'referrer-policy': 'no-referrer',
        connection: 'close',
      });
      response.end(`${text}\n`);
    };
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    // Another page can call this port: without the state it is not the answer that is waited for.
    if (request.method !== 'GET' || url.pathname !== '/callback' || url.searchParams.get('state') !== state) {
      end(400, 'This is not the login that podgate waits for.');
      return;
    }
    try {
      resolve(oauth.validateAuthResponse(as, client, url, state));
      end(200, 'You can close this window: podgate goes on in the terminal.');
    } catch (error) {
      end(400, 'You are not logged in. The terminal says why.');
      reject(error instanceof Error ? error : new Error(errorText(error)));
    }
  });
  await new Promise<void>((listening) => listener.listen(0, '127.0.0.1', listening));
  const late = setTimeout(
    () => reject(new CliError(EXIT_FAILED, 'timed out waiting for the login; run the command again')),
    LOGIN_MS,
  );
  return {
    redirectUri: `http://127.0.0.1:${(listener.address() as AddressInfo).port}/callback`,
    redirected: promise,
    close() {
      clearTimeout(late);
      listener.close();
      listener.closeAllConnections();
    },
  };
}

interface Parties {
  readonly as: oauth.AuthorizationServer;
  readonly client: oauth.Client;
  readonly options: () => oauth.TokenEndpointRequestOptions;
}

function partiesOf(server: OauthServer): Parties {
  const { issuer, token_endpoint: tokenEndpoint, device_authorization_endpoint: device } = server;
  const called = urlsOf(tokenEndpoint, device);
  // The installation could name any. A token must not cross a network unencrypted, and other schemes open other programs.
  for (const { protocol, hostname, href } of [...called, ...urlsOf(server.authorization_endpoint)]) {
    if (protocol !== 'https:' && !['127.0.0.1', '[::1]', 'localhost'].includes(hostname)) {
      throw new CliError(
        EXIT_FAILED,
        `${href} must begin with https://, or others on the network could read the token`,
      );
    }
  }
  return {
    as: {
      issuer,
      token_endpoint: tokenEndpoint,
      ...(device === null ? {} : { device_authorization_endpoint: device }),
    },
    client: { client_id: server.client_id },
    options: () => ({
      signal: AbortSignal.timeout(CALL_MS),
      // Marked as deprecated to stand out: it is for loopback alone, as checked above.
      // eslint-disable-next-line @typescript-eslint/no-deprecated
      [oauth.allowInsecureRequests]: called.every(({ protocol }) => protocol === 'http:'),
    }),
  };
}

function urlsOf(...urls: readonly (string | null)[]): readonly URL[] {
  return urls.flatMap((url) => (url === null ? [] : [new URL(url)]));
}

function scopeOf({ scope }: OauthServer): Record<string, string> {
  return scope === null ? {} : { scope };
}
