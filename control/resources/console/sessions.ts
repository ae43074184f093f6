import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

import type { Clock } from '../../../core/clock.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Vault } from '../../../core/vault.ts';
import type { Listener } from '../../http/client-address.ts';
import { requireSameOrigin } from '../../http/same-origin.ts';
import type { SessionReader } from '../../http/session-reader.ts';
import { offeredProtocols } from '../../http/upgrade.ts';
import { cookieName, cookieOf, cookieValue } from '../../http/session-cookie.ts';

const LIFETIME_MS = 12 * 3_600_000;
const KEY_BYTES = 24;
const VAULT_CONTEXT = 'console-session';
const SESSION_HEADER = 'x-podgate-session';
/** In place of that header among the subprotocols of a WebSocket, for which a page can set no header. */
const SESSION_PROTOCOL = 'podgate.session.';

export interface Session {
  readonly setCookie: string;
  /** What the page sends in X-Podgate-Session. */
  readonly key: string;
  readonly expiresAtMs: number;
}

interface Sealed {
  readonly token: string;
  readonly keyHash: string;
  readonly expiresAtMs: number;
}

/**
 * Sessions of the console, held by the browser alone, so that every replica knows them. The cookie holds the token, sealed
 * by the keyring, and is useless without the key that the page keeps in the storage of its origin: browsers send cookies
 * to all ports of a host, and on this machine pods listen on some of them.
 */
export class Sessions implements SessionReader {
  readonly #vault: Vault;
  readonly #clock: Clock;

  constructor({ vault, clock }: { readonly vault: Vault; readonly clock: Clock }) {
    this.#vault = vault;
    this.#clock = clock;
  }

  /** Throws 'api.invalid' for a token that is too long for a cookie. */
  open(token: string, listener: Listener): Session {
    const key = randomBytes(KEY_BYTES).toString('base64url');
    const expiresAtMs = this.#clock.now() + LIFETIME_MS;
    const sealed: Sealed = { token, keyHash: hashOf(key).toString('base64url'), expiresAtMs };
    const value = this.#vault.seal(JSON.stringify(sealed), VAULT_CONTEXT);
    return { key, expiresAtMs, setCookie: this.#cookie(listener, value, LIFETIME_MS) };
  }

  /** The Set-Cookie that ends a session. */
  ended(listener: Listener): string {
    return this.#cookie(listener, '', 0);
  }

  tokenOf(headers: IncomingHttpHeaders, listener: Listener): string | undefined {
    const protocol = offeredProtocols(headers).find((each) => each.startsWith(SESSION_PROTOCOL));
    const key = headers[SESSION_HEADER] ?? protocol?.slice(SESSION_PROTOCOL.length);
    if (key === undefined) return undefined;
    requireSameOrigin(headers, listener);
    const sealed = this.#sealedOf(cookieValue(headers.cookie ?? '', cookieName(listener, 'session')));
    const isGood =
      sealed !== null &&
      this.#clock.now() < sealed.expiresAtMs &&
      timingSafeEqual(hashOf(String(key)), Buffer.from(sealed.keyHash, 'base64url'));
    if (!isGood) {
      throw new PodgateError('api.unauthenticated', { publicMessages: ['The session has ended: log in again.'] });
    }
    return sealed.token;
  }

  #cookie(listener: Listener, value: string, lifetimeMs: number): string {
    return cookieOf({ listener, name: 'session', value, lifetimeMs, sameSite: 'Strict' });
  }

  #sealedOf(value: string): Sealed | null {
    try {
      // Sealed by this installation: it has the shape that was given to it.
      return JSON.parse(this.#vault.open(value, VAULT_CONTEXT)) as Sealed;
    } catch {
      return null;
    }
  }
}

function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
