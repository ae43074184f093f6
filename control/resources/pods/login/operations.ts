import { z } from 'zod';

import type { Clock } from '../../../../core/clock.ts';
import { PodgateError } from '../../../../core/errors.ts';
import { httpsUrl } from '../../../../core/https-url.ts';
import { DEFAULT_STANZA, podHost, podKey } from '../../../../core/ids.ts';
import type { Logger } from '../../../../core/logger.ts';
import {
  LOGIN_CALLBACK_PATH,
  LOGIN_SESSION_MS,
  LOGIN_START_MS,
  LOGIN_TICKET_MS,
  type LoginSeals,
  type LoginStart,
  POD_LOGIN_PATH,
  START_PARAMETER,
  TICKET_PARAMETER,
} from '../../../../core/pod-login.ts';
import { routedStanzas } from '../../../../core/route.ts';
import type { Store } from '../../../../core/store.ts';
import type { TenantPlace } from '../../../../core/tenant-place.ts';
import type { Vault } from '../../../../core/vault.ts';
import { type Authenticator, hostName } from '../../../auth/authenticator.ts';
import {
  beginCodeFlow,
  CONSOLE_CALLBACK_PATH,
  endCodeFlow,
  oauthTenantOf,
  type StartedFlow,
} from '../../../auth/oauth-code-flow.ts';
import { tokenExpiryMs } from '../../../auth/token-expiry.ts';
import type { Call, Operation, RedirectReply } from '../../../http/operation.ts';
import { cookieName, cookieOf, cookieValue } from '../../../http/session-cookie.ts';

const VAULT_CONTEXT = 'pod-login-started';
/** Logins under way in one browser: more cookies would make its requests too large. */
const SLOTS = 4;

export interface PodLoginParts {
  readonly store: Store;
  readonly vault: Vault;
  readonly seals: LoginSeals;
  readonly authenticator: Authenticator;
  readonly tenants: readonly TenantPlace[];
  /** The port clients dial. */
  readonly publicHttpsPort: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What a browser keeps while its user is at the OAuth server. */
interface Started extends StartedFlow {
  readonly login: LoginStart;
  readonly expiresAtMs: number;
}

/** A stanza that has a login, and where it is reached. */
interface Door {
  readonly host: string;
  readonly uid: string;
  readonly returnPath: string;
}

/**
 * The login in front of pods: the gateway sends browsers to the first, the OAuth server back to the second, which sends
 * them back to the pod with a ticket that only the same browser can use (core/pod-login.ts).
 */
export function podLoginOperations(parts: PodLoginParts): readonly Operation[] {
  const callback = {
    methods: ['get'],
    tag: 'Pods',
    query: [
      { name: 'code', description: 'Of the OAuth server.' },
      { name: 'state', description: 'As it was sent there.' },
    ],
    result: z.unknown(),
    replies: 'redirect',
    access: 'open',
    alsoRefuses: ['api.invalid', 'api.unauthenticated', 'api.forbidden', 'api.not-found'],
    handle: (call: Call) => finishLogin(parts, call),
  } as const satisfies Partial<Operation>;
  return [
    {
      operationId: 'pod_auth',
      methods: ['get'],
      path: '/pods/{pod_id_net}/auth',
      tag: 'Pods',
      summary: "Leads a browser to the login of the tenant's OAuth server, for a stanza with tapis_auth.",
      query: [
        {
          name: START_PARAMETER,
          description: 'As the gateway has sealed it. Without it, the browser is sent to the pod.',
        },
      ],
      result: z.unknown(),
      replies: 'redirect',
      access: 'open',
      handle: (call) => beginLogin(parts, call),
    },
    {
      ...callback,
      operationId: 'pod_login_callback',
      path: LOGIN_CALLBACK_PATH,
      summary: 'Where the OAuth server sends the browser back to, whichever pod it came from.',
    },
    {
      ...callback,
      operationId: 'pod_auth_callback',
      path: '/pods/{pod_id_net}/auth/callback',
      summary: 'The same as pod_login_callback, by the name that Tapis has for it.',
    },
  ];
}

async function beginLogin(parts: PodLoginParts, call: Call): Promise<RedirectReply> {
  const { seals, clock, vault, tenants } = parts;
  const { host, uid, returnPath } = await doorOf(parts, call);
  const login = seals.open('start', call.query.get(START_PARAMETER) ?? '', clock.now());
  // The gateway begins it anew. On the control port, the cookies would be of another host.
  if (login === null || login.host !== host || login.uid !== uid || call.listener !== 'gateway') {
    return { kind: 'redirect', status: 303, location: `${urlOf(parts, host)}${returnPath}` };
  }
  const redirectUri = `${urlOf(parts, placeOf(parts, call).baseHost)}/v3${LOGIN_CALLBACK_PATH}`;
  const { location, started } = await beginCodeFlow(oauthTenantOf(tenants, call.host).oauth, redirectUri);
  const value: Started = { ...started, login, expiresAtMs: clock.now() + LOGIN_START_MS };
  const sealed = vault.seal(JSON.stringify(value), VAULT_CONTEXT);
  return { kind: 'redirect', status: 303, location, setCookie: startedCookie(started.state, sealed, LOGIN_START_MS) };
}

async function finishLogin(parts: PodLoginParts, call: Call): Promise<RedirectReply> {
  const { seals, clock, tenants, authenticator, log } = parts;
  const state = call.query.get('state') ?? '';
  const started = startedOf(parts, call, state);
  const tenant = oauthTenantOf(tenants, call.host);
  if (started === null && tenant.oauth.tapis !== null) {
    // The only redirect URI of a client of Tapis: it may have been a login to the console.
    return { kind: 'redirect', status: 303, location: `${CONSOLE_CALLBACK_PATH}?${call.query.toString()}` };
  }
  if (started === null) {
    throw new PodgateError('api.invalid', {
      publicMessages: [
        'The login has taken too long, or was begun in another browser. Open the page of the pod again.',
      ],
    });
  }
  const { login } = started;
  const back = `${urlOf(parts, login.host)}${POD_LOGIN_PATH}`;
  const setCookie = startedCookie(state, '', 0);
  const token = await endCodeFlow(tenant, started, call.query, log);
  // The gateway says so, in a page of the pod.
  if (token === null) return { kind: 'redirect', status: 303, location: back, setCookie };
  const { username } = await authenticator.authenticate({
    host: placeOf(parts, call).baseHost,
    tapisToken: token,
    authorization: undefined,
  });
  const nowMs = clock.now();
  const ticket = seals.seal('ticket', {
    ...login,
    user: username,
    expiresAtMs: nowMs + LOGIN_TICKET_MS,
    sessionExpiresAtMs: Math.min(nowMs + LOGIN_SESSION_MS, tokenExpiryMs(token)),
  });
  if (ticket === null) throw new PodgateError('api.unavailable');
  return { kind: 'redirect', status: 303, location: `${back}?${TICKET_PARAMETER}=${ticket}`, setCookie };
}

/** Throws 'api.not-found' unless that stanza runs, or is to run, with a login. */
async function doorOf(parts: PodLoginParts, call: Call): Promise<Door> {
  const [podId = '', stanzaName = DEFAULT_STANZA] = (call.params['pod_id_net'] ?? '').split('-', 2);
  const { id: tenant, baseHost } = placeOf(parts, call);
  const record = (await parts.store.get('pod', podKey(tenant, podId)))?.value ?? null;
  const isThere = record !== null && record.deleting === null;
  const stanza = isThere ? routedStanzas(record).find(({ name }) => name === stanzaName)?.stanza : undefined;
  if (!isThere || stanza?.tapisAuth !== true) {
    throw new PodgateError('api.not-found', { publicMessages: ['No pod of this name has a login in front of it.'] });
  }
  return {
    host: podHost(podId, stanzaName, baseHost),
    uid: record.uid,
    returnPath: stanza.tapisAuthReturnPath ?? '/',
  };
}

function placeOf({ tenants }: PodLoginParts, { host }: Call): TenantPlace {
  const place = tenants.find(({ baseHost }) => baseHost === hostName(host)) ?? tenants[0];
  if (place === undefined) throw new PodgateError('api.not-found');
  return place;
}

function urlOf({ publicHttpsPort }: PodLoginParts, host: string): string {
  return httpsUrl(host, publicHttpsPort);
}

function startedOf({ vault, clock }: PodLoginParts, { headers }: Call, state: string): Started | null {
  try {
    const sealed = cookieValue(headers.cookie ?? '', cookieName('gateway', slotOf(state)));
    // Sealed by this installation, for this step alone: it has the shape that was given to it.
    const value = JSON.parse(vault.open(sealed, VAULT_CONTEXT)) as Started;
    return clock.now() < value.expiresAtMs ? value : null;
  } catch {
    return null;
  }
}

function startedCookie(state: string, value: string, lifetimeMs: number): string {
  // Lax: the way back from the server is a navigation from another site.
  return cookieOf({ listener: 'gateway', name: slotOf(state), value, lifetimeMs, sameSite: 'Lax' });
}

/** Tabs that log in at the same time have a cookie each, unless they are unlucky: then one of them has to try again. */
function slotOf(state: string): `pod-login-${number}` {
  return `pod-login-${(state.codePointAt(0) ?? 0) % SLOTS}`;
}
