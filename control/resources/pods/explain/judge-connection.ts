import { fail, type Finding, ok, warn } from '../../../../core/finding.ts';
import { RECENT_KEPT } from '../../../../core/pod-connections.ts';
import { remedyOf } from './remedies.ts';

/** As the API returns it. */
export interface PastConnection {
  readonly code: string | null;
  readonly end: string | null;
  readonly status: number | null;
  readonly tls_ms: number | null;
  readonly route_ms: number | null;
  readonly dial_ms: number | null;
  readonly first_byte_ms: number | null;
}

const SLOW_MS = 1_000;

const SLOW_STEPS = [
  ['tls_ms', 'the TLS handshake', 'The network between client and gateway is slow, or the client is.'],
  [
    'route_ms',
    'the message that opens the session, and the limits of the pod',
    'The client was slow, or waited for a place.',
  ],
  ['dial_ms', 'the connection to the pod', 'The program in the pod did not accept connections at once.'],
  ['first_byte_ms', "the pod's first byte", 'The program in the pod was slow to respond.'],
] as const;

/** What is to be said of a connection of the past; `message`: what its client has read. Pure. */
export function judgeConnection(
  podId: string,
  {
    requestId,
    found,
    message,
  }: {
    readonly requestId: string;
    readonly found: PastConnection | null;
    readonly message: string | null;
  },
): Finding {
  if (found === null) {
    return warn(
      'connection',
      `The gateway does not remember request ${requestId} of pod ${podId}.`,
      `Workers keep the last ${RECENT_KEPT} of each pod until they are restarted. Check that the ID is of this pod; the operator finds older ones in the access log.`,
    );
  }
  if (found.code !== null) {
    return fail('connection', message ?? `It was refused: ${found.code}.`, remedyOf(found.code, podId) ?? '');
  }
  const slowest = SLOW_STEPS.toSorted(([a], [b]) => (found[b] ?? 0) - (found[a] ?? 0))[0];
  if (slowest !== undefined && (found[slowest[0]] ?? 0) >= SLOW_MS) {
    const [step, what, why] = slowest;
    return warn('connection', `It took ${((found[step] ?? 0) / 1_000).toFixed(1)} s for ${what}.`, why);
  }
  if (found.status !== null && found.status >= 500) {
    return warn('connection', `The pod responded with status ${found.status}.`, `Its log: podgate logs ${podId}.`);
  }
  if (found.end === 'backend' || found.end === 'backend-failed') {
    return warn('connection', 'The pod broke the connection.', `Its log: podgate logs ${podId}.`);
  }
  return ok('connection', found.end === null ? 'It goes on.' : 'The gateway has seen nothing wrong with it.');
}
