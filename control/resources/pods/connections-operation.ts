import { z } from 'zod';

import type { PodConnectionsReport } from '../../../core/pod-connections-reader.ts';
import { mergePodConnections, RECENT_KEPT, type SeenConnection } from '../../../core/pod-connections.ts';
import type { PodService } from './pod-service.ts';
import type { Operation } from '../../http/operation.ts';
import { podIdOf } from './pod-query.ts';
import { TrafficAnswer, trafficAnswer } from './traffic-answer.ts';

const count = z.int();
const ms = z.number().nullable();

/** One session or request, with how long each of its steps took. */
export const RecentConnectionAnswer = z.object({
  time: z.iso.datetime().describe('When it began.'),
  request_id: z.string().describe('As refusals show it.'),
  address: z.string().describe("The client's."),
  port: z.int(),
  protocol: z.string(),
  stanza: z.string(),
  status: z.int().nullable().describe('Of the HTTP response.'),
  code: z.string().nullable().describe('Why it was refused.'),
  end: z.string().nullable().describe('How it ended, as in the access log; null: it goes on.'),
  tls_ms: ms.describe('From accept to the end of the TLS handshake; null for later requests of a connection.'),
  route_ms: ms.describe("From there to the dial: the client's first message, rules and limits."),
  dial_ms: ms.describe('Until the pod has accepted; null: over a kept connection.'),
  first_byte_ms: ms.describe("From there to the pod's first byte."),
  total_ms: ms,
  replica: z.string(),
});

export const PodConnectionsAnswer = z.object({
  sessions_now: count.describe('Sessions of TCP (Bolt, too) and Postgres.'),
  requests_now: count.describe('HTTP requests under way, and tunnels such as WebSocket.'),
  stanzas: z.record(z.string(), TrafficAnswer),
  replicas: z.array(
    z.object({
      replica: z.string(),
      since: z.iso.datetime().describe('Totals count from then: workers forget when they end.'),
      workers: z.array(
        z.object({
          worker: z.int(),
          gateway: z.string().optional().describe('The replica of the worker, where that is a gateway alone.'),
          sessions_now: count,
          requests_now: count,
        }),
      ),
    }),
  ),
  refusals: z
    .array(
      z.object({
        time: z.iso.datetime(),
        code: z.string(),
        message: z.string(),
        address: z.string().describe("The client's."),
        protocol: z.string(),
        stanza: z.string(),
        request_id: z.string().describe('As the client has read it.'),
        replica: z.string(),
      }),
    )
    .describe('The last ones, newest first.'),
  recent: z
    .array(RecentConnectionAnswer)
    .describe(`The last ${RECENT_KEPT} sessions and requests, refused ones included, newest first.`),
});

const REFUSALS_SHOWN = 50;

export function connectionsOperation(pods: Pick<PodService, 'connections'>): Operation {
  return {
    operationId: 'get_pod_connections',
    methods: ['get'],
    path: '/pods/{pod_id}/connections',
    tag: 'Pods',
    summary:
      'Who is connected now, the last connections with the times of their steps, and who was refused and why. It shows addresses of clients: USER.',
    result: PodConnectionsAnswer,
    access: 'token',
    handle: async (call) => {
      const seen = await pods.connections(call.caller, podIdOf(call));
      return {
        kind: 'json',
        message: 'Pod connections retrieved successfully.',
        result: answerOf(seen),
        ...(seen.missing.length === 0 ? {} : { metadata: { missing: seen.missing } }),
      };
    },
  };
}

function answerOf({ replicas }: PodConnectionsReport): z.output<typeof PodConnectionsAnswer> {
  const stanzas = Object.entries(mergePodConnections(replicas, 0).stanzas);
  const refusals = replicas.flatMap((each) => each.refusals.map((refusal) => ({ ...refusal, replica: each.replica })));
  return {
    sessions_now: stanzas.reduce((sum, [, { sessionsNow }]) => sum + sessionsNow, 0),
    requests_now: stanzas.reduce((sum, [, { requestsNow }]) => sum + requestsNow, 0),
    stanzas: Object.fromEntries(stanzas.map(([name, counts]) => [name, trafficAnswer(counts)])),
    replicas: replicas.map(({ replica, sinceMs, workers }) => ({
      replica,
      since: new Date(sinceMs).toISOString(),
      workers: workers
        .toSorted((a, b) => a.worker - b.worker)
        .map(({ sessionsNow, requestsNow, ...name }) => ({
          ...name,
          sessions_now: sessionsNow,
          requests_now: requestsNow,
        })),
    })),
    refusals: refusals
      .toSorted((a, b) => b.atMs - a.atMs)
      .slice(0, REFUSALS_SHOWN)
      .map(({ atMs, code, message, address, protocol, stanza, requestId, replica }) => ({
        time: new Date(atMs).toISOString(),
        ...{ code, message, address, protocol, stanza, request_id: requestId, replica },
      })),
    recent: [...recentAnswers({ replicas })],
  };
}

/** Newest first. */
export function recentAnswers({
  replicas,
}: Pick<PodConnectionsReport, 'replicas'>): readonly z.output<typeof RecentConnectionAnswer>[] {
  return replicas
    .flatMap(({ recent, replica }) => recent.map((each) => ({ ...each, replica })))
    .toSorted((a, b) => b.atMs - a.atMs)
    .slice(0, RECENT_KEPT)
    .map(recentAnswer);
}

function recentAnswer(seen: SeenConnection & { readonly replica: string }): z.output<typeof RecentConnectionAnswer> {
  const { requestId, address, port, protocol, stanza, status, code, end, replica } = seen;
  return {
    time: new Date(seen.atMs).toISOString(),
    request_id: requestId,
    ...{ address, port, protocol, stanza, status, code, end },
    tls_ms: seen.tlsMs,
    route_ms: seen.routeMs,
    dial_ms: seen.dialMs,
    first_byte_ms: seen.firstByteMs,
    total_ms: seen.totalMs,
    replica,
  };
}
