import { isIP } from 'node:net';
import { z } from 'zod';
import { PodgateError } from '../../../../core/errors.ts';
import type { Finding } from '../../../../core/finding.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import { POD_STATUSES } from '../../../../core/pod.ts';
import type { AuthenticatedCall, Operation, QueryParameter } from '../../../http/operation.ts';
import { recentAnswers, RecentConnectionAnswer } from '../connections-operation.ts';
import { podIdOf } from '../pod-query.ts';
import type { PublicPlace } from '../response.ts';
import { type Explained, type ExplainedStanza, messageOf, type PodExplainer } from './explain-pod.ts';
import { saidBy, summaryOf } from './findings.ts';
import { judgeConnection } from './judge-connection.ts';

const FindingAnswer = z.object({
  level: z.enum(['ok', 'warn', 'fail']),
  subject: z.string().describe('pod, name, route, certificate, address, attempt or connection.'),
  message: z.string(),
  remedy: z.string().describe("What to do; '' when there is nothing to do."),
});
const ms = z.number().nullable();

export const PodExplanation = z.object({
  pod_id: z.string(),
  status: z.enum(POD_STATUSES),
  summary: FindingAnswer.describe('The most important of the findings.'),
  stanzas: z.array(
    z.object({
      stanza: z.string(),
      host: z.string(),
      port: z.int(),
      protocol: z.string(),
      findings: z.array(FindingAnswer),
      addresses: z.array(z.string()).describe('To which Podgate resolves the name.'),
      certificate: z
        .object({
          names: z.array(z.string()),
          issuer: z.string(),
          not_after: z.iso.datetime(),
          is_publicly_trusted: z.boolean(),
        })
        .nullable(),
      is_address_admitted: z.boolean().nullable().describe('Of the address in the query.'),
      client_reads: z
        .object({ code: z.string(), message: z.string(), hint: z.string().nullable() })
        .nullable()
        .describe('The refusal that the attempt met.'),
      attempt: z
        .object({
          request_id: z.string().nullable(),
          tcp_ms: ms,
          tls_ms: ms,
          route_ms: ms,
          dial_ms: ms,
          first_byte_ms: ms,
        })
        .nullable()
        .describe('One connection through the gateway of this replica; null: it has none.'),
    }),
  ),
  connection: RecentConnectionAnswer.extend({ message: z.string().nullable() })
    .nullable()
    .describe('That of request_id.'),
});

const QUERY: readonly QueryParameter[] = [
  { name: 'stanza', description: 'Only this one of the networking.' },
  { name: 'address', description: 'May this client address connect? IPv4 or IPv6.' },
  {
    name: 'request_id',
    description: 'What became of this request, among the last ones of the pod. No attempt is made then.',
  },
];

const REQUEST_ID = /^[\w-]{1,64}$/;

export function explainOperation(explainer: PodExplainer, placeOf: (tenant: string) => PublicPlace): Operation {
  return {
    operationId: 'explain_pod',
    methods: ['get'],
    path: '/pods/{pod_id}/explain',
    tag: 'Pods',
    summary:
      'Why a pod can or cannot be reached: name, route, certificate, allowed addresses, and one attempt per stanza through the gateway. USER.',
    query: QUERY,
    result: PodExplanation,
    access: 'token',
    handle: async (call) => {
      const { requestId, ...asked } = queryOf(call);
      const message = 'Connections explained successfully.';
      if (requestId !== null)
        return { kind: 'json', message, result: await explainRequest(explainer, call, requestId) };
      const place = placeOf(call.caller.tenant);
      const explained = await explainer.explain(call.caller, {
        podId: podIdOf(call),
        ...asked,
        place,
        signal: call.signal,
      });
      const { missing } = explained;
      return {
        kind: 'json',
        message,
        result: explanationOf(explained, place),
        ...(missing.length === 0 ? {} : { metadata: { missing } }),
      };
    },
  };
}

/** Throws 'api.invalid'. */
function queryOf({ query }: AuthenticatedCall): {
  readonly stanza: string | null;
  readonly address: string | null;
  readonly requestId: string | null;
} {
  const [stanza, address, requestId] = ['stanza', 'address', 'request_id'].map((name) => query.get(name));
  const problems = [
    ...(typeof address === 'string' && isIP(address) === 0 ? ['address: must be an IPv4 or IPv6 address'] : []),
    ...(typeof requestId === 'string' && !REQUEST_ID.test(requestId)
      ? ['request_id: must be as an error page or X-Request-Id shows it']
      : []),
  ];
  if (problems.length > 0) throw new PodgateError('api.invalid', { publicMessages: problems });
  return { stanza: stanza ?? null, address: address ?? null, requestId: requestId ?? null };
}

type Answer = z.output<typeof PodExplanation>;

function explanationOf({ record, stanzas }: Explained, { publicHttpsPort: port }: PublicPlace): Answer {
  return {
    ...headOf(record, summaryOf(stanzas.flatMap(({ findings }) => findings))),
    stanzas: stanzas.map((explained) => ({ ...stanzaAnswer(explained), port })),
    connection: null,
  };
}

function headOf({ podId, status }: PodRecord, summary: Finding): Pick<Answer, 'pod_id' | 'status' | 'summary'> {
  return { pod_id: podId, status, summary };
}

function stanzaAnswer({
  name,
  host,
  stanza,
  findings,
  lookup,
  attempt,
  address,
  recorded,
  seen,
}: ExplainedStanza): Omit<Answer['stanzas'][number], 'port'> {
  const certificate = attempt?.certificate ?? null;
  const code = recorded?.code ?? null;
  const said = attempt === null ? null : saidBy(attempt);
  const addressFinding = findings.find(({ subject }) => subject === 'address');
  return {
    ...{ stanza: name, host, protocol: stanza.protocol, findings: [...findings] },
    addresses: 'addresses' in lookup ? [...lookup.addresses] : [],
    certificate:
      certificate === null
        ? null
        : {
            names: [...certificate.names],
            issuer: certificate.issuer,
            not_after: new Date(certificate.notAfterMs).toISOString(),
            is_publicly_trusted: certificate.isPubliclyTrusted,
          },
    is_address_admitted: address === null ? null : addressFinding?.level === 'ok',
    client_reads:
      code === null ? null : { code, message: said?.message ?? recorded?.message ?? code, hint: said?.hint ?? null },
    attempt:
      attempt === null
        ? null
        : {
            request_id: seen?.requestId ?? said?.requestId ?? null,
            tcp_ms: rounded(attempt.tcpMs),
            tls_ms: rounded(attempt.tlsMs),
            route_ms: seen?.routeMs ?? null,
            dial_ms: seen?.dialMs ?? null,
            first_byte_ms: seen?.firstByteMs ?? rounded(attempt.firstByteMs),
          },
  };
}

async function explainRequest(explainer: PodExplainer, call: AuthenticatedCall, requestId: string): Promise<Answer> {
  const { record, report } = await explainer.recorded(call.caller, podIdOf(call));
  const found = recentAnswers(report).find((each) => each.request_id === requestId) ?? null;
  const message = messageOf(report, requestId);
  return {
    ...headOf(record, judgeConnection(record.podId, { requestId, found, message })),
    stanzas: [],
    connection: found === null ? null : { ...found, message },
  };
}

function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 1_000) / 1_000;
}
