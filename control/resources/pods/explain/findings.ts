import { compileAddressList, isListed } from '../../../../core/address-range.ts';
import type { RoutableAnswer } from '../../../../core/feed-protocol.ts';
import { fail, type Finding, ok, warn } from '../../../../core/finding.ts';
import type { PodRecord, Stanza } from '../../../../core/pod.ts';
import type { Attempt, ShownCertificate } from './attempt.ts';
import type { Lookup } from './look-up.ts';
import { remedyOf } from './remedies.ts';
import type { Said } from './spoken.ts';

const DAY_MS = 86_400_000;
const EXPIRES_SOON_DAYS = 7;

/** What is known of one way to a pod. */
export interface Evidence {
  readonly record: PodRecord;
  readonly stanza: Stanza;
  readonly host: string;
  readonly lookup: Lookup;
  /** Whether all workers have the route; null: not asked, since the pod does not run. */
  readonly routable: RoutableAnswer | null;
  /** The address that was asked about; null: none was. */
  readonly address: string | null;
  /** Null: there is no gateway here. */
  readonly attempt: Attempt | null;
  /** What the gateway has recorded of the attempt; null: nothing was found. */
  readonly recorded: { readonly code: string | null; readonly message: string | null } | null;
  readonly nowMs: number;
}

/** What is right and wrong, in the order in which a connection meets it. Pure. */
export function findingsOf(evidence: Evidence): readonly Finding[] {
  const certificate = evidence.attempt?.certificate ?? null;
  return [
    judgePod(evidence.record),
    judgeName(evidence),
    ...(evidence.routable === null ? [] : [judgeRoute(evidence.routable)]),
    ...(certificate === null ? [] : [judgeCertificate(evidence, certificate)]),
    ...(evidence.address === null ? [] : [judgeAddress(evidence.stanza, evidence.address)]),
    judgeAttempt(evidence),
  ];
}

/** The one thing to read: the first that fails, otherwise what is doubtful about the attempt itself. */
export function summaryOf(findings: readonly Finding[]): Finding {
  const failed = findings.find(({ level }) => level === 'fail');
  const attempt = findings.findLast(({ subject }) => subject === 'attempt');
  return failed ?? attempt ?? findings.find(({ level }) => level === 'warn') ?? ok('pod', 'Nothing is wrong.');
}

/** Is this address let in? Pure. */
function isAdmitted({ ipAllowList }: Pick<Stanza, 'ipAllowList'>, address: string): boolean {
  return ipAllowList.length === 0 || isListed(compileAddressList(ipAllowList), address);
}

function judgePod({ podId, status, wish, statusContainer }: PodRecord): Finding {
  const reason = statusContainer?.message ?? '';
  const because = reason === '' ? '' : ` (${reason})`;
  if (status === 'RUNNING' && wish === 'ON') return ok('pod', `Pod ${podId} runs.`);
  if (status === 'ASLEEP' && wish === 'ON')
    return ok('pod', `Pod ${podId} is asleep. A client that connects wakes it.`);
  const code =
    status === 'REQUESTED' || status === 'SPAWNER_SETUP' || status === 'CREATING_CONTAINER'
      ? 'route.starting'
      : 'route.stopped';
  return fail('pod', `The status of pod ${podId} is ${status}${because}.`, remedyOf(code, podId) ?? '');
}

function judgeName({ host, lookup }: Evidence): Finding {
  if ('addresses' in lookup)
    return ok('name', `${host} resolves to ${lookup.addresses.join(', ')}, as Podgate sees it.`);
  const isLocal = host.endsWith('.localhost');
  return warn(
    'name',
    `${host} does not resolve where Podgate runs: ${lookup.problem}.`,
    isLocal
      ? 'Browsers and curl resolve names below localhost themselves; other programs need libnss-myhostname, or the address 127.0.0.1.'
      : 'What counts is the machine of the client: podgate explain checks the name there.',
  );
}

function judgeRoute(routable: RoutableAnswer): Finding {
  switch (routable.kind) {
    case 'routable':
      return ok('route', 'Every gateway worker has the route.');
    case 'ended':
      return fail('route', 'The pod was stopped meanwhile.', 'Ask again.');
    case 'timeout':
      return fail(
        'route',
        `These do not route to the pod: ${routable.laggards.join(', ')}.`,
        'If it stays so, the operator should run podgate doctor.',
      );
  }
}

function judgeCertificate({ stanza, host, nowMs }: Evidence, certificate: ShownCertificate): Finding {
  const { issuer, notAfterMs, nameProblem, isPubliclyTrusted } = certificate;
  const isPods = stanza.tls === 'passthrough';
  const whose = isPods ? 'The certificate of the pod' : 'The certificate';
  const until = new Date(notAfterMs).toISOString().slice(0, 10);
  const renew = isPods ? 'Renew it in the pod.' : 'The operator can renew it: podgate certs list.';
  if (nameProblem !== null) return fail('certificate', `${whose} is not valid for ${host}: ${nameProblem}`, renew);
  if (notAfterMs < nowMs) return fail('certificate', `${whose} expired on ${until}.`, renew);
  const days = Math.floor((notAfterMs - nowMs) / DAY_MS);
  const message = `${whose} is valid until ${until} (issued by ${issuer}).`;
  // The development CA's live for days and are made anew in time.
  if (isPubliclyTrusted && days < EXPIRES_SOON_DAYS) return warn('certificate', message, renew);
  return {
    ...ok('certificate', message),
    remedy: isPubliclyTrusted ? '' : 'No public CA has issued it: clients must trust its issuer (podgate ca trust).',
  };
}

function judgeAddress(stanza: Stanza, address: string): Finding {
  if (stanza.ipAllowList.length === 0) return ok('address', `Every address may connect, ${address} included.`);
  return isAdmitted(stanza, address)
    ? ok('address', `ip_allow_list admits ${address}.`)
    : fail('address', `ip_allow_list does not admit ${address}.`, remedyOf('route.forbidden', '') ?? '');
}

function judgeAttempt(evidence: Evidence): Finding {
  const { attempt, recorded, stanza, record } = evidence;
  const { podId } = record;
  if (attempt === null && record.status === 'ASLEEP') {
    return ok('attempt', 'No attempt was made: it would have woken the pod.');
  }
  if (attempt === null) {
    return warn('attempt', 'No attempt was made: this replica has no gateway.', 'Connect with a client of your own.');
  }
  const { failure, reply } = attempt;
  if (failure !== null) return judgeFailure(evidence, failure);
  if (recorded !== null && recorded.code !== null) return judgeRefusal(evidence, recorded.code, attempt);
  switch (reply?.kind) {
    case 'http':
      return reply.status >= 500
        ? warn(
            'attempt',
            `The pod responds, with status ${reply.status} of its own.`,
            `Its log: podgate logs ${podId}.`,
          )
        : ok('attempt', `The pod responds with status ${reply.status}.`);
    case 'postgres-session':
      return ok('attempt', 'Postgres asks for user and password.');
    case 'postgres-error':
      return warn(
        'attempt',
        `Postgres in the pod responds: ${reply.said.message}`,
        'The attempt has no user of the pod. If yours is refused as well, check its name and password.',
      );
    case 'bytes':
      return ok('attempt', 'The pod responds.');
    case 'silent':
    case undefined:
      return stanza.protocol === 'tcp'
        ? ok('attempt', 'The pod accepts the connection and waits for its client to speak first.')
        : fail('attempt', 'The pod accepts the connection and does not respond.', `Its log: podgate logs ${podId}.`);
    case 'closed':
      return fail(
        'attempt',
        'The pod accepts the connection and closes it without a response.',
        `Its log: podgate logs ${podId}.`,
      );
  }
}

function judgeFailure({ host, stanza }: Evidence, { step, reason }: NonNullable<Attempt['failure']>): Finding {
  if (step === 'tcp') {
    return fail('attempt', `The gateway does not accept connections: ${reason}.`, 'The operator: podgate doctor.');
  }
  if (stanza.tls === 'passthrough') {
    return fail(
      'attempt',
      `The TLS handshake with the pod failed: ${reason}.`,
      'With tls: passthrough, the program in the pod must speak TLS.',
    );
  }
  return fail('attempt', `The TLS handshake for ${host} failed: ${reason}.`, 'The operator: podgate certs list.');
}

function judgeRefusal({ record, stanza, recorded }: Evidence, code: string, attempt: Attempt): Finding {
  const said = saidBy(attempt)?.message ?? recorded?.message ?? code;
  if (code === 'route.forbidden' && !isAdmitted(stanza, attempt.address)) {
    return warn(
      'attempt',
      `The attempt comes from ${attempt.address}, which ip_allow_list does not admit: it ends there, as it should.`,
      'Ask about the address of your client: --address.',
    );
  }
  if (code === 'route.certificate' && stanza.clientCa !== undefined) {
    return warn(
      'attempt',
      'The attempt shows no client certificate, which this stanza requires: it ends there, as it should.',
      'Connect with a certificate that an authority of client_ca has issued.',
    );
  }
  if (code === 'login.required' && stanza.tapisAuth === true) {
    return warn(
      'attempt',
      'The attempt carries no login, which this stanza requires: it ends there, as it should.',
      remedyOf(code, record.podId) ?? '',
    );
  }
  return fail('attempt', `A client reads: ${said}`, remedyOf(code, record.podId) ?? '');
}

/** What the attempt has read, if it was a refusal's text. Null: none, or it cannot be read from here. */
export function saidBy({ reply }: Attempt): Said | null {
  return reply?.kind === 'http' || reply?.kind === 'postgres-error' ? reply.said : null;
}
