import { z } from 'zod';

import type { CertificateAdmin } from '../../../core/certificate-admin.ts';
import { PodgateError } from '../../../core/errors.ts';
import { httpsUrl } from '../../../core/https-url.ts';
import { podIdMaxLength, RESERVED_POD_IDS } from '../../../core/ids.ts';
import { parseQueueKey, type Queue } from '../../../core/queue.ts';
import type { TemplateCatalog } from '../../../core/template.ts';
import type { TenantPlace } from '../../../core/tenant-place.ts';
import type { Authenticator, Caller } from '../../auth/authenticator.ts';
import { CONSOLE_CALLBACK_PATH, oauthTenantOf } from '../../auth/oauth-code-flow.ts';
import { boundedText } from '../../http/bounded.ts';
import { checkFields } from '../../http/field-checks.ts';
import type { AuthenticatedCall, Call, Operation } from '../../http/operation.ts';
import { requireSameOrigin } from '../../http/same-origin.ts';
import type { LoginLinks } from './login-links.ts';
import { type OauthLogins, type Origin } from './oauth-logins.ts';
import type { Sessions } from './sessions.ts';

const TOKEN_MAX_LENGTH = 16_384;
const SESSION_PATH = '/console/session';
/** Parked keys read to find those of a tenant. */
const PARKED_READ = 1_000;
const PARKED_SHOWN = 100;
/** The numbers that the operator page shows, by their names in core/metrics.ts and control/metrics/. */
const SHOWN_METRICS: ReadonlySet<string> = new Set([
  'podgate_connections_active',
  'podgate_sessions_active',
  'podgate_http_requests_active',
  'podgate_refusals_total',
]);
const LOGIN_BODY_BYTES = 32 * 1024;
const KEY_HASH = /^[\w-]{43}$/;

const Login = z.strictObject({
  token: boundedText(TOKEN_MAX_LENGTH).optional(),
  code: boundedText(64).optional().describe('Of a login link.'),
  oauth_key: boundedText(64).optional().describe('Of a login by OAuth that this page has begun.'),
});

export interface OperatorView {
  readonly queue: Pick<Queue, 'stats' | 'parked'>;
  /** Prometheus text, as /metrics on the control port. */
  readonly metrics: () => Promise<string>;
}

export interface ConsoleParts {
  readonly sessions: Sessions;
  readonly links: LoginLinks;
  readonly oauthLogins: OauthLogins;
  /** An administrator's token for anyone with the link; null: the installation does not sign tokens itself. */
  readonly issueToken: (() => Promise<string>) | null;
  /** File with the CA of the pods' certificates, on this machine; null: CAs that clients trust anyway. */
  readonly caPath: string | null;
  readonly operator: OperatorView;
}

export interface ConsoleOperationParts extends ConsoleParts {
  readonly authenticator: Authenticator;
  readonly templates: TemplateCatalog;
  readonly site: string;
  readonly tenants: readonly TenantPlace[];
  readonly publicHttpsPort: number;
  /** False: pods are processes of this machine. */
  readonly allowsImages: boolean;
  readonly certificates?: Pick<CertificateAdmin, 'report'>;
}

/** What the console needs beside the API: no part of it, so not in the OpenAPI document. */
export function consoleOperations(parts: ConsoleOperationParts): readonly Operation[] {
  const { sessions } = parts;
  return [
    {
      operationId: 'console_login',
      methods: ['post'],
      path: SESSION_PATH,
      tag: 'Console',
      summary: 'Exchanges a token, or the code of a login link, for a session.',
      body: Login,
      result: z.unknown(),
      access: 'open',
      limits: { bodyBytes: LOGIN_BODY_BYTES },
      handle: async (call) => {
        requireSameOrigin(call.headers, call.listener);
        const token = await tokenOf(parts, call);
        const caller = await parts.authenticator.authenticate({
          host: call.host,
          tapisToken: token,
          authorization: undefined,
        });
        const { key, expiresAtMs, setCookie } = sessions.open(token, call.listener);
        return {
          kind: 'json',
          message: `Logged in as ${caller.username}.`,
          result: { key, expires: new Date(expiresAtMs).toISOString() },
          setCookie,
        };
      },
    },
    {
      operationId: 'console_oauth',
      methods: ['get'],
      path: '/console/oauth',
      tag: 'Console',
      summary: "Leads to the login of the tenant's OAuth server.",
      query: [{ name: 'key_hash', description: 'Of a key that the page keeps: SHA-256 in base64url.' }],
      result: z.unknown(),
      replies: 'redirect',
      access: 'open',
      handle: async (call) => {
        const keyHash = call.query.get('key_hash') ?? '';
        if (!KEY_HASH.test(keyHash)) {
          throw new PodgateError('api.invalid', { publicMessages: ['key_hash: must be a SHA-256 in base64url'] });
        }
        const tenant = oauthTenantOf(parts.tenants, call.host);
        if (tenant.oauth.tapis !== null && call.listener !== 'gateway') {
          // Its one redirect URI is that of the base host, where the cookie of a login that begins here does not go.
          return { kind: 'redirect', status: 303, location: `${httpsUrl(tenant.baseHost, parts.publicHttpsPort)}/` };
        }
        const begun = await parts.oauthLogins.begin(tenant, originOf(call), keyHash);
        return { kind: 'redirect', status: 302, ...begun };
      },
    },
    {
      operationId: 'console_oauth_callback',
      methods: ['get'],
      path: CONSOLE_CALLBACK_PATH,
      tag: 'Console',
      summary: 'Where the OAuth server sends the browser back to.',
      result: z.unknown(),
      replies: 'redirect',
      access: 'open',
      handle: async (call) => {
        const tenant = oauthTenantOf(parts.tenants, call.host);
        const setCookie = await parts.oauthLogins.finish(tenant, originOf(call), call.query, call.headers);
        // Neither code nor token stays in the address bar.
        if (setCookie === null) return { kind: 'redirect', status: 302, location: '/#oauth-refused' };
        return { kind: 'redirect', status: 302, location: '/#oauth', setCookie };
      },
    },
    {
      operationId: 'console_session',
      methods: ['get'],
      path: SESSION_PATH,
      tag: 'Console',
      summary: 'Who is logged in, and where pods are reached.',
      result: z.unknown(),
      access: 'token',
      handle: async ({ caller }) => ({ kind: 'json', message: 'Session retrieved.', result: placeOf(parts, caller) }),
    },
    {
      operationId: 'console_logout',
      methods: ['delete'],
      path: SESSION_PATH,
      tag: 'Console',
      summary: 'Ends the session in this browser.',
      result: z.null(),
      access: 'open',
      handle: async ({ headers, listener }) => {
        requireSameOrigin(headers, listener);
        return { kind: 'json', message: 'Logged out.', result: null, setCookie: sessions.ended(listener) };
      },
    },
    {
      operationId: 'console_home',
      methods: ['get'],
      path: '/console',
      tag: 'Console',
      summary: 'Leads to the console, which is at the root of the host.',
      result: z.unknown(),
      replies: 'redirect',
      access: 'open',
      handle: async () => ({ kind: 'redirect', status: 308, location: '/' }),
    },
    {
      operationId: 'console_operator',
      methods: ['get'],
      path: '/console/operator',
      tag: 'Console',
      summary: "The queue and the gateway's traffic. ADMIN.",
      result: z.unknown(),
      access: 'token',
      handle: async (call) => ({
        kind: 'json',
        message: 'Operator view retrieved.',
        result: await operatorView(parts, call),
      }),
    },
  ];
}

/** Host names that are not this installation's were refused before. */
function originOf({ listener, host }: Call): Origin {
  return { listener, url: `${listener === 'gateway' ? 'https' : 'http'}://${host}` };
}

async function tokenOf({ issueToken, links, oauthLogins }: ConsoleParts, call: Call): Promise<string> {
  const { body, headers, listener } = call;
  const { values, problems } = checkFields(Login, body);
  const { token, code, oauth_key: oauthKey } = values;
  if (problems.length > 0) throw new PodgateError('api.invalid', { publicMessages: problems });
  if ([token, code, oauthKey].filter((given) => given !== undefined).length !== 1) {
    throw new PodgateError('api.invalid', { publicMessages: ['token: send a token, or the code of a login link'] });
  }
  if (oauthKey !== undefined) return oauthLogins.tokenOf(headers, listener, oauthKey);
  if (token !== undefined) return token.trim();
  if (issueToken !== null && code !== undefined && links.redeem(code)) return await issueToken();
  throw new PodgateError('api.unauthenticated', {
    publicMessages: [
      'This login link has been used, or is older than 15 minutes. For a new one, run podgate console on the machine that runs Podgate; or paste a token.',
    ],
  });
}

function placeOf(parts: ConsoleOperationParts, caller: Caller) {
  const { site, tenants, publicHttpsPort, allowsImages, templates, caPath } = parts;
  return {
    username: caller.username,
    tenant: caller.tenant,
    is_administrator: caller.isAdministrator,
    base_host: tenants.find(({ id }) => id === caller.tenant)?.baseHost ?? 'localhost',
    public_https_port: publicHttpsPort,
    pods_are_processes: !allowsImages,
    // Another user of this machine has no use for the path, and strangers none for its name.
    ca_path: caller.isAdministrator ? caPath : null,
    reserved_ids: [...RESERVED_POD_IDS],
    templates: templates.list().map(({ name, aliases, summary, networking, takesCommand, requiresCommand }) => ({
      name: aliases[0] ?? name,
      summary,
      stanzas: Object.keys(networking ?? {}),
      takes_command: takesCommand,
      requires_command: requiresCommand,
      max_id_length: podIdMaxLength({ site, tenant: caller.tenant }, Object.keys(networking ?? {})),
    })),
  };
}

/** Counts are of the installation; keys, which name pods, are of the caller's tenant alone. */
async function operatorView({ operator }: ConsoleParts, { caller, reserve }: AuthenticatedCall) {
  if (!caller.isAdministrator) {
    throw new PodgateError('api.forbidden', { publicMessages: ['This page is for administrators (role pods_admin).'] });
  }
  const [text, stats, parked] = await Promise.all([
    operator.metrics(),
    operator.queue.stats(),
    operator.queue.parked(PARKED_READ),
  ]);
  const metrics = text
    .split('\n')
    .filter((line) => SHOWN_METRICS.has(/^\w*/.exec(line)?.[0] ?? ''))
    .join('\n');
  const keys = parked
    .map((each) => ({ ...each, record: parseQueueKey(each.key) }))
    .filter(({ record }) => record.key.startsWith(`${caller.tenant}/`))
    .slice(0, PARKED_SHOWN)
    // As ./podgate queue lists and takes them.
    .map(({ record, ...each }) => ({ ...each, key: record.kind === 'pod' ? record.key : each.key }));
  const view = { queue: { ...stats, keys }, metrics };
  reserve(JSON.stringify(view).length);
  return view;
}
