import type { AnswerCode, LoginCode, RefusalCode } from '../../../../core/errors.ts';

type Code = RefusalCode | AnswerCode | LoginCode;

/** What a user of the pod can do about each refusal: with the command line, as its operations are the same everywhere. */
const REMEDIES: Readonly<Record<Code, (podId: string) => string>> = {
  'route.unknown': () => 'Check the name: it is <pod_id>.pods.<base host>, or <pod_id>-<stanza>.pods.<base host>.',
  'route.stopped': (podId) => `Start it: podgate start ${podId}. If it has failed, podgate logs ${podId} says why.`,
  'route.starting': (podId) => `Wait until it runs: podgate watch. podgate logs ${podId} shows how far it is.`,
  'route.asleep': (podId) =>
    `Start it: podgate start ${podId}. Connect as a user that the pod has accepted before, or send a GET: that wakes it.`,
  'route.unreachable': (podId) =>
    `Check that its program listens on the port of the stanza, on all addresses: podgate logs ${podId}.`,
  'route.forbidden': () => "Add the client's address to ip_allow_list of the stanza.",
  'route.certificate': () => 'Show a client certificate that an authority of client_ca has issued.',
  'route.full': () => 'Close connections that are not used, for example with a smaller pool, and try again.',
  'route.held-full': () =>
    'Start the pod before many clients of one address connect, or let fewer of them connect at a time.',
  'route.no-descriptors': () =>
    'Try again in a few seconds. The operator can raise the limit of open files (ulimit -n).',
  'route.owner-full': () => "Close connections to the owner's pods. The operator can raise quotas.connectionsPerUser.",
  'route.tenant-full': () =>
    "Close connections to the tenant's pods. The operator can raise quotas.connectionsPerTenant.",
  'route.misdirected': () => 'Open a new connection for this host name, and speak the protocol of its stanza.',
  'tls.required': () => 'Connect with TLS: https://, sslmode=require, bolt+s:// or neo4j+s://.',
  'answer.malformed': (podId) => `Correct the program in the pod: podgate logs ${podId}.`,
  'login.required': () => "Open the pod in a browser, or send the tenant's token in X-Tapis-Token.",
  'login.forbidden': () => 'Add the user to tapis_auth_allowed_users of the stanza, or give them USER on the pod.',
  'login.cross-site': () => "Send the tenant's token in X-Tapis-Token instead of the cookie of the login.",
  'login.failed': () => 'Open the page of the pod again, with cookies allowed.',
  'login.unavailable': () => 'Try again in a few seconds.',
  'answer.missing': (podId) => `The program in the pod closed the connection: podgate logs ${podId}.`,
};

/** Null: not the code of a refusal. */
export function remedyOf(code: string, podId: string): string | null {
  return Object.hasOwn(REMEDIES, code) ? REMEDIES[code as Code](podId) : null;
}
