import type { BlockList } from 'node:net';
import { kindOfError } from '../../../../core/error-code.ts';
import { type AnswerCode, ERRORS, type RefusalCode } from '../../../../core/errors.ts';
import { type Backend, isWaking, type Route, refusalOfStatus } from '../../../../core/route.ts';
import type { ConnectionInfo } from '../../../connection/connection-info.ts';
import type { FullCode } from '../../../limits/pod-places.ts';
import { refusalOfFailure } from '../../../dial/dial.ts';
import { refusalByPolicy } from '../../../policy/policies.ts';
import { describeRefusal } from '../../../connection/refusal.ts';
import { GOODBYE_SENTENCES } from '../../../goodbye/goodbye.ts';
import type { CutReason } from '../../../policy/standing.ts';
import type { RouteTable } from '../../../routes/route-table.ts';
import type { Telemetry } from '../../../telemetry/telemetry.ts';
import type { ClientProof } from '../../../tls/client-proof.ts';
import { type GoodRequest, examineRequest, isMetricsPath } from './examine.ts';
import type { ExchangeFailure } from './exchange.ts';
import type { OwnResponse } from '../responses/own-response.ts';
import { CHECK_FIRST, type Problem, problemOfApi, problemOfCode, problemOfRefusal } from '../responses/problem.ts';
import { type RealClient, realClient } from './real-client.ts';
import type { RequestPolicy, Unproven, Visitor } from './request-policy.ts';
import type { Framing } from '../wire/body-reader.ts';
import type { RequestHead } from '../wire/head.ts';
import { requestFraming } from '../wire/request-framing.ts';

export interface JudgeOptions {
  readonly table: RouteTable;
  /** Where the API is, instead of a pod. */
  readonly baseHosts: () => ReadonlySet<string>;
  /** Where the API is reached from outside, for hints. */
  readonly apiUrl: string;
  /** Feed and watch have been silent for so long that no backend is trusted any more. */
  readonly isStale: () => boolean;
  /** Proxies whose X-Forwarded-For is believed; null = nobody's is. */
  readonly trustedProxies: BlockList | null;
  readonly telemetry: Pick<Telemetry, 'refused'>;
  /** Of routes with a login alone, after the policies of all protocols. */
  readonly login: RequestPolicy;
}

export type Accepted =
  | {
      readonly kind: 'api';
      readonly request: GoodRequest;
      readonly requestId: string;
      readonly client: RealClient;
    }
  | {
      readonly kind: 'pod';
      readonly request: GoodRequest;
      readonly requestId: string;
      readonly client: RealClient;
      readonly route: Route;
      readonly backend: Backend;
      /** Who has come through the login; null = the pod has none. */
      readonly visitor: Visitor | null;
    };
/** The gateway responds in the pod's place. */
export interface Refused {
  readonly kind: 'refused';
  readonly response: OwnResponse;
  readonly client: RealClient;
  /** Of the pod it was meant for, where that is known. */
  readonly route: Route | null;
}
/** Its client has passed all checks, and its pod sleeps or starts. */
export interface Waking {
  readonly kind: 'waking';
  readonly request: GoodRequest;
  readonly requestId: string;
  readonly client: RealClient;
  readonly route: Route;
  /** Nobody has logged in, and it was let in by its path alone: it wakes no pod. */
  readonly isAnonymous: boolean;
}
/** Judge it again when `prove` calls back. */
export interface Pending extends Unproven {
  readonly request: GoodRequest;
  readonly client: RealClient;
  readonly route: Route;
}
export type Verdict = Refused | Pending | Waking | Accepted;

/** Where a request goes, or why it gets no further. Every request is judged by itself: kept connections see pods stop and move. */
export class Judge {
  readonly #options: JudgeOptions;

  constructor(options: JudgeOptions) {
    this.#options = options;
  }

  judge(
    head: RequestHead,
    info: ConnectionInfo,
    requestId: string,
    framing: Framing | string = requestFraming(head),
  ): Verdict {
    const { table, baseHosts, isStale, trustedProxies, login } = this.#options;
    const client = realClient(head.rawHeaders, info.remoteAddress, trustedProxies);
    const refused = (response: OwnResponse, route: Route | null = null): Verdict => ({
      kind: 'refused',
      response,
      client,
      route,
    });
    const refusal = (code: RefusalCode, host: string | null, route: Route | null): Verdict =>
      refused(this.#refused(code, { requestId, client }, host, route, info.proof), route);

    if (info.serverName === null) return refusal('route.unknown', null, null);
    const request = examineRequest(head, info.serverName, framing);
    if (request.kind === 'malformed') return refused(problemOfCode('request.malformed', requestId, request.reason));
    if (request.kind === 'misdirected') return refusal('route.misdirected', info.serverName, null);
    if (request.kind === 'bad-method') {
      return refused(problemOfCode('api.method-not-allowed', requestId, 'CONNECT and TRACE are not supported.'));
    }
    if (baseHosts().has(request.host)) {
      if (!isMetricsPath(request.target)) return { kind: 'api', request, requestId, client };
      const hint = 'Metrics are available only inside the installation, on the control port.';
      return refused({ ...problemOfCode('api.not-found', requestId, hint), style: 'envelope' });
    }
    const route = table.get(request.host);
    if (route === undefined) return refusal('route.unknown', request.host, null);
    // The stanza's protocol was changed while this connection was kept: a new one is read anew.
    if (route.protocol !== 'http') return refusal('route.misdirected', request.host, route);
    const barrier = refusalByPolicy(route, { remoteAddress: client.address, proof: info.proof }, 'gateway');
    if (barrier !== null) return refusal(barrier, request.host, route);
    let visitor: Visitor | null = null;
    if (route.login !== undefined) {
      const outcome = login({ head, request, requestId, client, route });
      if (outcome.kind === 'unproven') return { ...outcome, request, client, route };
      if (outcome.kind !== 'visitor') return refused(outcome, route);
      visitor = outcome;
    }
    if (route.backend === null && isWaking(route)) {
      return { kind: 'waking', request, requestId, client, route, isAnonymous: visitor?.user === null };
    }
    if (route.backend === null) return refusal(refusalOfStatus(route.status), request.host, route);
    if (isStale()) return refusal('route.unreachable', request.host, route);
    return { kind: 'pod', request, requestId, client, route, backend: route.backend, visitor };
  }

  full(accepted: Accepted, code: FullCode): Problem {
    const route = accepted.kind === 'pod' ? accepted.route : null;
    return this.#refused(code, accepted, accepted.request.host, route);
  }

  /** It waits for its pod no longer, or does not wake it. */
  notWoken(waking: Waking, code: RefusalCode): Problem {
    return this.#refused(code, waking, waking.request.host, waking.route);
  }

  /** This gateway ends while it waits for its pod, which goes on waking up. */
  drained(waking: Waking): Problem {
    return { ...this.notWoken(waking, 'route.starting'), ...GOODBYE_SENTENCES.drained };
  }

  /** The backend did not answer, or not in HTTP. */
  failed(accepted: Accepted, failure: Omit<ExchangeFailure, 'isUnprocessed'>): Problem {
    const { code, rule, mayHaveHappened } = failure;
    if (accepted.kind === 'api') {
      const kind = kindOfError(code);
      const isAway = kind === 'refused' || kind === 'absent' || code === 'SILENT';
      return problemOfApi(isAway ? 503 : 502, accepted.requestId, mayHaveHappened);
    }
    if (rule !== null) return this.#answerFault('answer.malformed', accepted, rule, mayHaveHappened);
    if (mayHaveHappened) return this.#answerFault('answer.missing', accepted, null, true);
    return this.#refused(
      isRefusalCode(code) ? code : refusalOfFailure(code),
      accepted,
      accepted.request.host,
      accepted.route,
    );
  }

  /** It is cut before an answer has begun, since the route has changed or this gateway ends. */
  cut(verdict: Verdict, reason: CutReason, mayHaveHappened: boolean, requestId: string): OwnResponse {
    if (verdict.kind === 'refused') return verdict.response;
    if (verdict.kind === 'waking')
      return reason === 'drained' ? this.drained(verdict) : this.notWoken(verdict, 'route.starting');
    if (verdict.kind === 'unproven') return this.unproven(requestId);
    const problem = this.failed(verdict, { code: 'CUT', rule: null, mayHaveHappened });
    if (reason !== 'drained' || mayHaveHappened) return problem;
    return { ...problem, ...GOODBYE_SENTENCES.drained };
  }

  /** Who the client is could not be found out. */
  unproven(requestId: string): Problem {
    return problemOfCode('login.unavailable', requestId, 'Try again in a few seconds.');
  }

  /** Tells the pod's owner of an answer that breaks a rule in its body: its client has got the beginning. */
  noteBroken(accepted: Accepted, rule: string): void {
    if (accepted.kind === 'pod') this.#answerFault('answer.malformed', accepted, rule, false);
  }

  #answerFault(
    code: AnswerCode,
    { requestId, client, route }: Extract<Accepted, { kind: 'pod' }>,
    rule: string | null,
    mayHaveHappened: boolean,
  ): Problem {
    const { telemetry, apiUrl } = this.#options;
    const message = rule === null ? ERRORS[code].message : `${ERRORS[code].message} ${rule}`;
    const reason = `Its owner can see the reason: GET ${apiUrl}/v3/pods/${route.podId}/connections.`;
    telemetry.refused({ code, message, requestId }, route, client.address);
    return { ...problemOfCode(code, requestId, mayHaveHappened ? `${CHECK_FIRST} ${reason}` : reason), message };
  }

  #refused(
    code: RefusalCode,
    { requestId, client }: Pick<Accepted, 'requestId' | 'client'>,
    host: string | null,
    route: Route | null,
    proof: ClientProof | null = null,
  ): Problem {
    const { telemetry, apiUrl } = this.#options;
    const refusal = describeRefusal(code, { requestId, host, route, proof, apiUrl });
    telemetry.refused(refusal, route, client.address);
    return problemOfRefusal(refusal);
  }
}

/** Nothing was dialed. */
function isRefusalCode(code: string): code is RefusalCode {
  return code.startsWith('route.') && Object.hasOwn(ERRORS, code);
}

/** The pod speaks HTTP/2: what only HTTP/1.1 can do, it cannot. */
export function speaksH2c(accepted: Accepted): boolean {
  return accepted.kind === 'pod' && accepted.route.backendProtocol === 'h2c';
}
