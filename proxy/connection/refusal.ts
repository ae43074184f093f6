import { ERRORS, type RefusalCode } from '../../core/errors.ts';
import { isWaking, refusalOfStatus, type Route } from '../../core/route.ts';
import type { ClientProof } from '../tls/client-proof.ts';

/** A refusal ready to be said in any protocol. */
export interface Refusal {
  readonly code: RefusalCode;
  /** What happened and why: one sentence. */
  readonly message: string;
  /** What to do next: one sentence. */
  readonly hint: string;
  readonly requestId: string;
}

export interface RefusalOptions {
  readonly requestId: string;
  readonly host: string | null;
  readonly route: Route | null;
  /** What came of asking the client for a certificate, if it was asked. */
  readonly proof?: ClientProof | null;
  /** Where the API is reached from outside, such as `https://localhost:8443`. */
  readonly apiUrl: string;
}

/** The sentences of a refusal: what happened, why, and what to do next. */
export function describeRefusal(code: RefusalCode, options: RefusalOptions): Refusal {
  const { requestId, route } = options;
  // For a user of the pod. Other programs than ours show nothing but these sentences.
  const details = route === null ? '' : ` Details: podgate explain ${route.podId} --id ${requestId}`;
  return { code, requestId, message: messageOf(code, options), hint: `${hintOf(code, options)}${details}` };
}

function messageOf(code: RefusalCode, { host, route, proof }: RefusalOptions): string {
  const pod = route === null ? 'The pod' : `Pod ${route.podId}`;
  switch (code) {
    case 'route.unknown':
      return host === null ? 'No server name was given.' : `No pod has the host name ${host}.`;
    case 'route.stopped':
      return `${pod} is not running: its status is ${route?.status ?? 'STOPPED'}.`;
    case 'route.starting':
      if (route !== null && isWaking(route) && refusalOfStatus(route.status) !== code) return `${pod} is waking up.`;
      return `${pod} is starting: its status is ${route?.status ?? 'REQUESTED'}.`;
    case 'route.asleep':
      return `${pod} is asleep, and this request does not wake it.`;
    case 'route.unreachable':
      return `${pod} is running but does not answer.`;
    case 'route.forbidden':
      return 'Your address may not connect to this pod.';
    case 'route.certificate':
      if (proof?.kind === 'refused') return `Your client certificate is not accepted: ${proof.reason}.`;
      return `${pod} requires a client certificate, but your client sent none.`;
    case 'route.misdirected':
      if (route !== null && (route.tls !== undefined || route.clientCa !== undefined)) {
        return `The TLS settings of pod ${route.podId} have changed since you opened this connection.`;
      }
      return ERRORS[code].message;
    case 'route.full':
    case 'route.held-full':
    case 'route.no-descriptors':
    case 'route.owner-full':
    case 'route.tenant-full':
    case 'tls.required':
      return ERRORS[code].message;
  }
}

function hintOf(code: RefusalCode, { route, apiUrl }: RefusalOptions): string {
  const pod = route === null ? '{pod_id}' : route.podId;
  switch (code) {
    case 'route.unknown':
      return 'Check the name: it is <pod_id>.pods.<base host>, or <pod_id>-<stanza>.pods.<base host>.';
    case 'route.stopped':
      return route?.status === 'ERROR'
        ? `The reason: GET ${apiUrl}/v3/pods/${pod}/logs. Start it again: GET ${apiUrl}/v3/pods/${pod}/restart.`
        : `Start it: GET ${apiUrl}/v3/pods/${pod}/start.`;
    case 'route.starting':
      return 'Try again in a few seconds.';
    case 'route.asleep':
      return `Try again in a minute. Start it: GET ${apiUrl}/v3/pods/${pod}/start.`;
    case 'route.unreachable':
      return `Try again in a few seconds. Its logs: GET ${apiUrl}/v3/pods/${pod}/logs.`;
    case 'route.forbidden':
      return "The pod's owner can add your address to ip_allow_list in the pod's networking.";
    case 'route.certificate':
      return "Use a certificate issued by one of the CAs in the stanza's client_ca.";
    case 'route.full':
      return 'Try again in a few seconds.';
    case 'route.held-full':
      return 'Try again in a few seconds, with fewer connections at a time.';
    case 'route.no-descriptors':
      return 'Try again in a few seconds. The operator can raise the limit of open files (ulimit -n).';
    case 'route.owner-full':
      return "Close connections to the owner's pods, then try again. The operator can raise quotas.connectionsPerUser.";
    case 'route.tenant-full':
      return "Close connections to the tenant's pods, then try again. The operator can raise quotas.connectionsPerTenant.";
    case 'route.misdirected':
      return 'Open a new connection for this host name.';
    case 'tls.required':
      return 'Connect with TLS: https://, sslmode=require, bolt+s:// or neo4j+s://.';
  }
}
