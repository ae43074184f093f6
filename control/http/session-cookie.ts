import { PodgateError } from '../../core/errors.ts';
import type { Listener } from './client-address.ts';

/** Browsers ignore cookies of more than 4096 bytes, name and attributes included. */
const COOKIE_MAX_LENGTH = 3_900;

/** `session`: of who is logged in; `oauth`: of a login under way; `pod-login-...`: of one in front of a pod. */
export type CookieKind = 'session' | 'oauth' | `pod-login-${number}`;

export interface Cookie {
  readonly listener: Listener;
  readonly name: CookieKind;
  readonly value: string;
  readonly lifetimeMs: number;
  readonly sameSite: 'Strict' | 'Lax';
}

/** A page of a sub-domain can set cookies for the base host, but none with the prefix __Host- (RFC 6265bis, 4.1.3.2). */
export function cookieName(listener: Listener, kind: CookieKind): string {
  const suffix = kind === 'session' ? '' : `-${kind}`;
  return `${listener === 'gateway' ? '__Host-podgate' : 'podgate-console'}${suffix}`;
}

/** The Set-Cookie. Throws 'api.invalid' for a value that is too long, which is one with a long token. */
export function cookieOf({ listener, name, value, lifetimeMs, sameSite }: Cookie): string {
  if (value.length > COOKIE_MAX_LENGTH) {
    throw new PodgateError('api.invalid', { publicMessages: ['token: is too long for a session of the console'] });
  }
  const secure = listener === 'gateway' ? '; Secure' : '';
  const attributes = `Path=/; Max-Age=${lifetimeMs / 1000}; HttpOnly; SameSite=${sameSite}${secure}`;
  return `${cookieName(listener, name)}=${value}; ${attributes}`;
}

export function cookieValue(header: string, name: string): string {
  const pair = header.split(';').find((each) => each.trim().startsWith(`${name}=`));
  return pair?.trim().slice(name.length + 1) ?? '';
}
