import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

import type { Clock } from '../../../core/clock.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import { LOGIN_CALLBACK_PATH } from '../../../core/pod-login.ts';
import type { Vault } from '../../../core/vault.ts';
import {
  beginCodeFlow,
  CONSOLE_CALLBACK_PATH,
  endCodeFlow,
  type OauthTenant,
  type StartedFlow,
} from '../../auth/oauth-code-flow.ts';
import type { Listener } from '../../http/client-address.ts';
import { cookieName, cookieOf, cookieValue } from '../../http/session-cookie.ts';

/** From the start to the return from the server, and from there to the session. */
const LOGIN_MS = 10 * 60_000;
const TOKEN_MS = 60_000;
const STARTED = 'console-oauth-started';
const OBTAINED = 'console-oauth-token';

interface Started extends StartedFlow {
  readonly keyHash: string;
  readonly expiresAtMs: number;
}

interface Obtained {
  readonly token: string;
  readonly keyHash: string;
  readonly expiresAtMs: number;
}

/** A page of this installation, as the browser has it. */
export interface Origin {
  readonly listener: Listener;
  /** `https://host[:port]`. */
  readonly url: string;
}

/**
 * Logins to the console by the tenant's OAuth: authorization code with PKCE and a state. What belongs to a login under
 * way is sealed in a cookie, so that every replica can go on with it; the token goes on in the same cookie, for a minute.
 * As with sessions, the cookie is useless without the key that the page keeps: it is a cookie of a host, and pods may
 * listen on other ports of that. The key also binds the login to the browser that began it.
 */
export class OauthLogins {
  readonly #vault: Vault;
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor({ vault, clock, log }: { readonly vault: Vault; readonly clock: Clock; readonly log: Logger }) {
    this.#vault = vault;
    this.#clock = clock;
    this.#log = log;
  }

  /** Where the browser goes. `keyHash`: of the page's key, SHA-256 in base64url. */
  async begin(
    { oauth: client }: OauthTenant,
    { listener, url }: Origin,
    keyHash: string,
  ): Promise<{ readonly location: string; readonly setCookie: string }> {
    // A client of Tapis has one redirect URI; what comes back there without being for a pod is led here.
    const callback = client.tapis === null ? CONSOLE_CALLBACK_PATH : `/v3${LOGIN_CALLBACK_PATH}`;
    const { location, started } = await beginCodeFlow(client, `${url}${callback}`);
    const value: Started = { ...started, keyHash, expiresAtMs: this.#clock.now() + LOGIN_MS };
    return { location, setCookie: this.#cookie(listener, value, STARTED, LOGIN_MS) };
  }

  /**
   * The browser is back: exchanges the code for a token. Returns the cookie with it, or null when the server has said no.
   * Throws 'api.unauthenticated', which counts as a failed login, and 'api.invalid' for a token that is too long for a
   * cookie.
   */
  async finish(
    tenant: OauthTenant,
    { listener }: Origin,
    query: URLSearchParams,
    headers: IncomingHttpHeaders,
  ): Promise<string | null> {
    const started = this.#read(headers, listener, STARTED) as Started | null;
    if (started === null) throw refused('The login has taken too long, or was begun in another browser. Try again.');
    const token = await endCodeFlow(tenant, started, query, this.#log);
    if (token === null) return null;
    const obtained: Obtained = { token, keyHash: started.keyHash, expiresAtMs: this.#clock.now() + TOKEN_MS };
    return this.#cookie(listener, obtained, OBTAINED, TOKEN_MS);
  }

  /** The token of a login that is complete, for the page that began it. Throws 'api.unauthenticated'. */
  tokenOf(headers: IncomingHttpHeaders, listener: Listener, key: string): string {
    const obtained = this.#read(headers, listener, OBTAINED) as Obtained | null;
    const hash = createHash('sha256').update(key).digest();
    const kept = Buffer.from(obtained?.keyHash ?? '', 'base64url');
    if (obtained === null || kept.length !== hash.length || !timingSafeEqual(kept, hash)) {
      throw refused('The login has taken too long, or was begun in another browser. Try again.');
    }
    return obtained.token;
  }

  #cookie(listener: Listener, value: Started | Obtained, context: string, lifetimeMs: number): string {
    const sealed = this.#vault.seal(JSON.stringify(value), context);
    // Lax: the way back from the server is a navigation from another site.
    return cookieOf({ listener, name: 'oauth', value: sealed, lifetimeMs, sameSite: 'Lax' });
  }

  /** As it was sealed for that step; null: there is none, or its time is over. */
  #read(headers: IncomingHttpHeaders, listener: Listener, context: string): Started | Obtained | null {
    try {
      const sealed = cookieValue(headers.cookie ?? '', cookieName(listener, 'oauth'));
      // Sealed by this installation, for this step alone: it has the shape that was given to it.
      const value = JSON.parse(this.#vault.open(sealed, context)) as Started | Obtained;
      return this.#clock.now() < value.expiresAtMs ? value : null;
    } catch {
      return null;
    }
  }
}

function refused(sentence: string): PodgateError {
  return new PodgateError('api.unauthenticated', { publicMessages: [sentence] });
}
