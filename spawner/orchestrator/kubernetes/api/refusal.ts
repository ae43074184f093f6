import type { KubeResponse } from './kube-api.ts';
import { isRecord, parseJson, textAt } from './json.ts';

/** What the API server says when it refuses (a `Status` object). */
export interface Refusal {
  readonly code: number;
  /** Such as AlreadyExists, Conflict, Forbidden, Invalid. */
  readonly reason: string;
  readonly message: string;
}

export function refusalOf(response: KubeResponse): Refusal {
  const body = parseJson(response.text);
  const status = isRecord(body) ? body : {};
  return {
    code: response.status,
    reason: textAt(status, 'reason'),
    message: textAt(status, 'message') || response.text.slice(0, 500),
  };
}

export interface CreateFailure {
  /** A sentence for the user. */
  readonly reason: string;
  readonly retryable: boolean;
}

/** Why an object was not made, for its pod's user: pure. The API server's own words, without its names for things. */
export function createFailure({ code, reason, message }: Refusal, what: string): CreateFailure {
  const said = sentence(plain(message));
  if (code === 403) {
    if (/exceeded quota/.test(message)) {
      return { reason: `This pod exceeds a quota of the cluster: ${said}`, retryable: true };
    }
    if (/violates PodSecurity/.test(message)) {
      return { reason: `The cluster's security rules do not allow this pod: ${said}`, retryable: false };
    }
    if (/cannot create resource/.test(message)) {
      return {
        reason: `Podgate's account in the cluster is not allowed to create a ${what}: an operator must fix this.`,
        retryable: true,
      };
    }
    // Limit ranges, admission webhooks, a namespace that is being deleted.
    return { reason: `The cluster does not allow this pod: ${said}`, retryable: true };
  }
  if (code === 404) {
    return { reason: 'The namespace for pods does not exist: an operator must create it.', retryable: true };
  }
  if (code === 409) return { reason: `The cluster is busy with this pod: ${said}`, retryable: true };
  if (code === 413) return { reason: `The pod's description is too large for the cluster: ${said}`, retryable: false };
  return {
    reason: `The cluster does not accept ${what === 'pod' ? 'this pod' : `the ${what} of this pod`} (${reason || code}): ${said}`,
    retryable: false,
  };
}

/** `pods "pods-dev-x-y" is forbidden: exceeded quota: ...`: what comes after the name is of use. */
function plain(message: string): string {
  return message
    .replace(/^.*? "[^"]*" is (forbidden|invalid): /s, '')
    .replace(/\s+/g, ' ')
    .slice(0, 600);
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
