import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { granteesOf, isForAll } from './permissions.ts';
import { PERMISSION_LEVELS, type PermissionLevel, type PodRecord, type StanzaLogin } from './pod.ts';
import { type TicketKey, TICKET_PERIOD_MS } from './ticket-keys.ts';

/**
 * Logins in front of pods (decision 0086). The gateway sends a browser without a session to the API with a LoginStart; the
 * API lets the tenant's OAuth server say who the user is and sends the browser back with a LoginTicket; the gateway turns
 * that into a LoginSession, the cookie of that host alone.
 */

/** Paths of a pod with a login that the gateway serves itself. */
export const POD_LOGIN_PATH = '/.podgate/login';
export const POD_LOGOUT_PATH = '/.podgate/logout';
/** The query parameters of a LoginStart and of a LoginTicket. */
export const START_PARAMETER = 'start';
export const TICKET_PARAMETER = 'ticket';
/** Where the OAuth server sends browsers back to, below the API's `/v3`. */
export const LOGIN_CALLBACK_PATH = '/pods/auth/callback';

/** From a page of the pod to the return from the OAuth server, and from there to the session. */
export const LOGIN_START_MS = 10 * 60_000;
export const LOGIN_TICKET_MS = 60_000;
/** Its key may be replaced right after it is sealed, and is kept for so much longer. */
export const LOGIN_SESSION_MS = TICKET_PERIOD_MS;

/** Groups of `tapis_auth_allowed_users`, by the least level that their members have on the pod. */
const LOGIN_GROUPS: Readonly<Record<string, PermissionLevel>> = {
  AUTHORIZED_READS: 'READ',
  AUTHORIZED_USERS: 'USER',
  AUTHORIZED_ADMINS: 'ADMIN',
};
export const DEFAULT_ALLOWED_USERS: readonly string[] = ['AUTHORIZED_USERS'];
const ALL_USERS = '*';

/** Where a browser begins, sealed by the gateway. */
export interface LoginStart {
  readonly host: string;
  readonly uid: string;
  /** SHA-256, in base64url, of what the browser keeps in a cookie of that host: nobody else can end this login. */
  readonly nonceHash: string;
  /** Of the host, with its query. */
  readonly path: string;
  readonly expiresAtMs: number;
}

/** Who has logged in, sealed by the API for the gateway. */
export interface LoginTicket extends LoginStart {
  readonly user: string;
  readonly sessionExpiresAtMs: number;
}

/** What a browser has: good for one host, and for the pod that it has now. */
export interface LoginSession {
  readonly host: string;
  readonly uid: string;
  readonly user: string;
  readonly expiresAtMs: number;
}

/** By what it is for: none can take the place of another. */
export interface Sealed {
  readonly start: LoginStart;
  readonly ticket: LoginTicket;
  readonly session: LoginSession;
}

/** Who may use a stanza, as its route says it. */
export interface RouteLogin {
  /** Names; null = all users of the tenant. */
  readonly users: readonly string[] | null;
  /** Header fields for the pod, each name in lower case; `<<tapisusername>>` is still to be replaced. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly returnPath?: string;
  /** What is at or below these needs no login; none ends with a slash. */
  readonly excludedPaths?: readonly string[];
}

/** The login of a stanza, if it has one: groups are resolved with the permissions as they are now. */
export function routeLoginOf(
  stanza: StanzaLogin,
  record: Pick<PodRecord, 'tenant' | 'permissions'>,
  site: string,
): { readonly login?: RouteLogin } {
  if (stanza.tapisAuth !== true) return {};
  const { tapisAuthResponseHeaders: headers, tapisAuthReturnPath: returnPath, tapisAuthExcludedPaths: paths } = stanza;
  return {
    login: {
      users: usersOf(stanza.tapisAuthAllowedUsers ?? DEFAULT_ALLOWED_USERS, record),
      ...(headers === undefined ? {} : { headers: placeIn(headers, record.tenant, site) }),
      ...(returnPath === undefined ? {} : { returnPath }),
      ...(paths === undefined ? {} : { excludedPaths: paths.map((path) => path.replace(/\/$/, '')) }),
    },
  };
}

function usersOf(
  allowed: readonly string[],
  { tenant, permissions }: Pick<PodRecord, 'tenant' | 'permissions'>,
): readonly string[] | null {
  const users = new Set<string>();
  const [, ...everyone] = granteesOf(tenant, '');
  for (const entry of allowed) {
    if (entry === ALL_USERS) return null;
    const least = Object.hasOwn(LOGIN_GROUPS, entry) ? LOGIN_GROUPS[entry] : undefined;
    if (least === undefined) {
      users.add(entry);
      continue;
    }
    for (const [grantee, level] of Object.entries(permissions)) {
      if (PERMISSION_LEVELS.indexOf(level) < PERMISSION_LEVELS.indexOf(least)) continue;
      if (everyone.includes(grantee)) return null;
      if (!isForAll(grantee)) users.add(grantee);
    }
  }
  return [...users].sort();
}

function placeIn(headers: Readonly<Record<string, string>>, tenant: string, site: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name.toLowerCase(),
      value
        .replaceAll(/<<(?:tapistenantid|tenant)>>/g, () => tenant)
        .replaceAll(/<<(?:tapissiteid|site)>>/g, () => site),
    ]),
  );
}

export function isSameLogin(a: RouteLogin | undefined, b: RouteLogin | undefined): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

export function mayLogIn({ users }: RouteLogin, user: string): boolean {
  return users?.includes(user) ?? true;
}

/** What is kept of a secret that only a browser, or a client, knows. */
export function secretHash(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

/**
 * Seals what a browser carries between gateway and API: JSON, readable, with an HMAC-SHA-256 of a key that is derived from
 * the session ticket keys, which all workers of all replicas have in common.
 */
export class LoginSeals {
  readonly #keys: () => readonly TicketKey[];
  readonly #derived = new Map<TicketKey, Buffer>();

  /** The first key seals. */
  constructor(keys: () => readonly TicketKey[]) {
    this.#keys = keys;
  }

  /** Null: there is no key yet. */
  seal<K extends keyof Sealed>(kind: K, value: Sealed[K]): string | null {
    const [key] = this.#current();
    if (key === undefined) return null;
    const body = Buffer.from(JSON.stringify(value), 'utf8').toString('base64url');
    return `${body}.${macOf(key, kind, body).toString('base64url')}`;
  }

  /** Null: it was not sealed for this, or its time is over. */
  open<K extends keyof Sealed>(kind: K, text: string, nowMs: number): Sealed[K] | null {
    const dot = text.indexOf('.');
    const body = text.slice(0, Math.max(0, dot));
    const mac = Buffer.from(text.slice(dot + 1), 'base64url');
    if (dot <= 0 || mac.length !== MAC_BYTES) return null;
    if (!this.#current().some((key) => timingSafeEqual(macOf(key, kind, body), mac))) return null;
    try {
      // Sealed by this installation: it has the shape that was given to it.
      const value = JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) as Sealed[K];
      return nowMs < value.expiresAtMs ? value : null;
    } catch {
      return null;
    }
  }

  #current(): readonly Buffer[] {
    const keys = this.#keys();
    for (const known of this.#derived.keys()) if (!keys.includes(known)) this.#derived.delete(known);
    return keys.map((key) => {
      let derived = this.#derived.get(key);
      if (derived === undefined) {
        derived = createHmac('sha256', Buffer.from(key, 'base64')).update('podgate login in front of a pod').digest();
        this.#derived.set(key, derived);
      }
      return derived;
    });
  }
}

const MAC_BYTES = 32;

function macOf(key: Buffer, kind: keyof Sealed, body: string): Buffer {
  return createHmac('sha256', key).update(`${kind}.${body}`).digest();
}
