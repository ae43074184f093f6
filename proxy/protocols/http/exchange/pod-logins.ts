import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../../core/clock.ts';
import { httpsUrl } from '../../../../core/https-url.ts';
import {
  LOGIN_START_MS,
  type LoginSeals,
  mayLogIn,
  POD_LOGIN_PATH,
  POD_LOGOUT_PATH,
  type RouteLogin,
  secretHash,
  START_PARAMETER,
  TICKET_PARAMETER,
} from '../../../../core/pod-login.ts';
import type { Route } from '../../../../core/route.ts';
import { isExcluded } from '../../../policy/excluded-paths.ts';
import type { TokenLogins } from '../../../policy/token-logins.ts';
import type { OwnResponse, WholeResponse } from '../responses/own-response.ts';
import { problemOfCode } from '../responses/problem.ts';
import { acceptOf, upgradeOf } from '../wire/connection-header.ts';
import { fieldOf } from './headers.ts';
import { alike, cookieOf, SESSION_COOKIE, START_COOKIE, TOKEN_FIELD } from './login-fields.ts';
import type { PolicyRequest, RequestPolicy, Unproven, Visitor } from './request-policy.ts';

/** A longer page is not returned to: what carries it must fit into a URL and a cookie. */
const PATH_MAX_LENGTH = 1_500;
const NONCE_BYTES = 18;
const NONCE = /^[\w-]{24}$/;
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

export interface PodLoginsOptions {
  readonly seals: LoginSeals;
  readonly tokens: TokenLogins;
  /** The port clients dial. */
  readonly publicHttpsPort: number;
  readonly clock: Clock;
}

/** The login in front of pods whose stanza asks for one (core/pod-login.ts). Called for their requests alone. */
export class PodLogins {
  readonly #options: PodLoginsOptions;

  constructor(options: PodLoginsOptions) {
    this.#options = options;
  }

  readonly policy: RequestPolicy = (request) => {
    const { head, route } = request;
    const { login } = route;
    if (login === undefined)
      return problemOfCode('login.unavailable', request.requestId, 'Try again in a few seconds.');
    if (isPublic(request, login)) return anonymous(login);
    const token = fieldOf(head.rawHeaders, TOKEN_FIELD);
    if (token !== null) return this.#byToken(request, login, token.trim());
    const [path = '', query = ''] = request.request.target.split('?', 2);
    if (path === POD_LOGIN_PATH) return this.#finish(request, new URLSearchParams(query));
    if (path === POD_LOGOUT_PATH) return this.#logOut(request);
    return this.#byCookie(request, login) ?? this.#begin(request, login);
  };

  #byToken(
    { client, requestId, route }: PolicyRequest,
    login: RouteLogin,
    token: string,
  ): OwnResponse | Visitor | Unproven {
    const { tokens } = this.#options;
    const host = baseHostOf(route);
    const answer = tokens.find(host, token);
    switch (answer?.kind) {
      case undefined:
        return { kind: 'unproven', prove: (done) => tokens.ask(host, token, client.address, done) };
      case 'user':
        return mayLogIn(login, answer.user) ? visitorOf(login, answer.user) : forbidden(requestId, answer.user, '');
      case 'refused':
        return problemOfCode('login.required', requestId, answer.reason);
      case 'unavailable':
        return problemOfCode('login.unavailable', requestId, 'Try again in a few seconds.');
    }
  }

  #byCookie({ head, request, requestId, route }: PolicyRequest, login: RouteLogin): OwnResponse | Visitor | null {
    const cookie = cookieOf(head.rawHeaders, SESSION_COOKIE);
    if (cookie === null) return null;
    const session = this.#options.seals.open('session', cookie, this.#options.clock.now());
    if (session === null || session.host !== route.host || session.uid !== route.uid) return null;
    if (!mayLogIn(login, session.user)) {
      return forbidden(requestId, session.user, ` Log out: ${this.#urlOf(route)}${POD_LOGOUT_PATH}`);
    }
    const changesSomething = !SAFE.has(head.method) || upgradeOf(head) !== null;
    if (changesSomething && !isOfOwnPage(head.rawHeaders, request.hostHeader)) {
      return problemOfCode('login.cross-site', requestId, `Open the page at ${this.#urlOf(route)}/ itself.`);
    }
    return visitorOf(login, session.user);
  }

  /** Sends a browser to the login. Programs are told what to send. */
  #begin({ head, request, requestId, route }: PolicyRequest, login: RouteLogin): OwnResponse {
    if (!isNavigation(head)) {
      const hint = `Open ${this.#urlOf(route)}/ in a browser to log in, or send the tenant's token in X-Tapis-Token.`;
      return problemOfCode('login.required', requestId, hint);
    }
    const given = cookieOf(head.rawHeaders, START_COOKIE) ?? '';
    // Tabs that log in at the same time have one in common.
    const nonce = NONCE.test(given) ? given : randomBytes(NONCE_BYTES).toString('base64url');
    const { target } = request;
    const start = this.#options.seals.seal('start', {
      ...{ host: route.host, uid: route.uid, nonceHash: secretHash(nonce) },
      path: login.returnPath ?? (target.length <= PATH_MAX_LENGTH ? target : '/'),
      expiresAtMs: this.#options.clock.now() + LOGIN_START_MS,
    });
    if (start === null) return problemOfCode('login.unavailable', requestId, 'Try again in a few seconds.');
    // `<pod>` or `<pod>-<stanza>`: what the API calls pod_id_net.
    const [name = ''] = route.host.split('.', 1);
    const to = `${this.#origin(baseHostOf(route))}/v3/pods/${name}/auth?${START_PARAMETER}=${start}`;
    return redirect(requestId, to, [setCookie(START_COOKIE, nonce, LOGIN_START_MS)]);
  }

  /** The browser is back with a ticket, which is worth nothing without the cookie of the browser that began. */
  #finish({ head, requestId, route }: PolicyRequest, query: URLSearchParams): OwnResponse {
    const { seals, clock } = this.#options;
    const nowMs = clock.now();
    const ticket = seals.open('ticket', query.get(TICKET_PARAMETER) ?? '', nowMs);
    const nonce = cookieOf(head.rawHeaders, START_COOKIE) ?? '';
    const isGood =
      ticket !== null &&
      ticket.host === route.host &&
      ticket.uid === route.uid &&
      ticket.nonceHash === secretHash(nonce) &&
      nowMs < ticket.sessionExpiresAtMs;
    const session = isGood
      ? seals.seal('session', {
          ...{ host: route.host, uid: route.uid, user: ticket.user },
          expiresAtMs: ticket.sessionExpiresAtMs,
        })
      : null;
    if (!isGood || session === null) {
      const hint = `Open ${this.#urlOf(route)}/ to log in. Your browser must accept cookies from this host.`;
      return problemOfCode('login.failed', requestId, hint);
    }
    // Absolute: a path that begins with two slashes would be another host.
    return redirect(requestId, `${this.#urlOf(route)}${ticket.path}`, [
      setCookie(SESSION_COOKIE, session, ticket.sessionExpiresAtMs - nowMs),
      setCookie(START_COOKIE, '', 0),
    ]);
  }

  #logOut({ requestId }: PolicyRequest): OwnResponse {
    const body = Buffer.from('You are logged out of this pod. You may still be logged in at your OAuth server.\n');
    return {
      ...{ kind: 'whole', status: 200, code: null, requestId, body },
      headers: [...PLAIN_FIELDS, 'Set-Cookie', setCookie(SESSION_COOKIE, '', 0)],
    };
  }

  #urlOf({ host }: Route): string {
    return this.#origin(host);
  }

  #origin(host: string): string {
    return httpsUrl(host, this.#options.publicHttpsPort);
  }
}

const PLAIN_FIELDS = [
  ...['Content-Type', 'text/plain; charset=utf-8', 'Cache-Control', 'no-store'],
  ...['Referrer-Policy', 'no-referrer', 'X-Content-Type-Options', 'nosniff'],
] as const;

function redirect(requestId: string, location: string, cookies: readonly string[]): WholeResponse {
  const headers = [...PLAIN_FIELDS, 'Location', location, ...cookies.flatMap((cookie) => ['Set-Cookie', cookie])];
  return {
    kind: 'whole',
    status: 302,
    code: null,
    requestId,
    headers,
    body: Buffer.from('Redirecting to the page in the Location header.\n'),
  };
}

/** __Host-: browsers take it from this host alone, and send it to no other (RFC 6265bis 4.1.3.2). */
function setCookie(name: string, value: string, lifetimeMs: number): string {
  return `${name}=${value}; Path=/; Max-Age=${Math.floor(lifetimeMs / 1_000)}; HttpOnly; Secure; SameSite=Lax`;
}

function visitorOf({ headers = {} }: RouteLogin, user: string): Visitor {
  // Header values are latin1 text that stands for bytes.
  const name = Buffer.from(user, 'utf8').toString('latin1');
  const fields = Object.entries(headers).flatMap(([field, value]) => [
    field,
    value.replaceAll('<<tapisusername>>', () => name),
  ]);
  return { kind: 'visitor', user, headers: fields, withheld: toldBy(headers) };
}

/** By these, some frameworks serve another path than that of the request. */
const OTHER_PATHS: readonly string[] = ['x-original-url', 'x-original-uri', 'x-rewrite-url'];

/** Of a path that needs no login. What the pod is told of its users, it is told by the gateway alone, here as well. */
function anonymous({ headers = {} }: RouteLogin): Visitor {
  return { kind: 'visitor', user: null, headers: [], withheld: new Set([...toldBy(headers), ...OTHER_PATHS]) };
}

function toldBy(headers: Readonly<Record<string, string>>): ReadonlySet<string> {
  return new Set(Object.keys(headers).map(alike));
}

function isPublic({ head, request }: PolicyRequest, { excludedPaths }: RouteLogin): boolean {
  if (excludedPaths === undefined || !isExcluded(excludedPaths, request.target)) return false;
  // Whatever else is spoken then, such as h2c, could ask for any path.
  const upgrade = upgradeOf(head);
  return upgrade === null || upgrade.toLowerCase() === 'websocket';
}

function forbidden(requestId: string, user: string, rest: string): OwnResponse {
  const hint = `You are logged in as ${user}. The pod's owner can give you access, with a permission or in tapis_auth_allowed_users.`;
  return problemOfCode('login.forbidden', requestId, `${hint}${rest}`);
}

function baseHostOf({ host }: Route): string {
  return host.slice(host.indexOf('.pods.') + '.pods.'.length);
}

/** A browser that shows what it gets: anything else could not log in. */
function isNavigation(head: PolicyRequest['head']): boolean {
  if (head.method !== 'GET' && head.method !== 'HEAD') return false;
  if (upgradeOf(head) !== null) return false;
  const mode = fieldOf(head.rawHeaders, 'sec-fetch-mode');
  return mode === null ? /\btext\/html\b/i.test(acceptOf(head)) : mode === 'navigate';
}

/**
 * Hosts of pods are of one site for browsers, so SameSite does not keep the page of one pod from using another with its
 * visitor's cookie. Clients that say nothing are no browsers.
 */
function isOfOwnPage(raw: readonly string[], hostHeader: string): boolean {
  const site = fieldOf(raw, 'sec-fetch-site');
  if (site !== null) return site === 'same-origin' || site === 'none';
  const origin = fieldOf(raw, 'origin');
  return origin === null || origin.toLowerCase() === `https://${hostHeader.toLowerCase()}`;
}
