import { randomBytes, randomUUID } from 'node:crypto';
import type { RequestListener } from 'node:http';

import Router from '@koa/router';
import Koa from 'koa';

import type { CertificateAdmin } from '../core/certificate-admin.ts';
import { errorText } from '../core/errors.ts';
import { RESERVED_POD_IDS } from '../core/ids.ts';
import type { Authenticator } from './auth/authenticator.ts';
import type { PodParts } from './resources/pods/pod-parts.ts';
import { createPodService } from './resources/pods/pod-service.ts';
import type { ApiNumbers } from './metrics/api-metrics.ts';
import type { Listener } from './http/client-address.ts';
import { connectionsOperation, PodConnectionsAnswer } from './resources/pods/connections-operation.ts';
import { CertificatesAnswer, certificatesOperation } from './resources/certificates/operations.ts';
import { exchange } from './http/exchange.ts';
import { controlHostNames } from './http/known-hosts.ts';
import { type CallLimits, CallAdmission, DEFAULT_CALL_LIMITS } from './http/limits/call-admission.ts';
import { FairTurns } from './http/limits/fair-turns.ts';
import { type RateLimit, RatePerAddress } from './http/limits/rate-per-address.ts';
import { DEFAULT_SLOW_READER_LIMITS, type SlowReaderLimits, SlowReaders } from './http/limits/slow-readers.ts';
import { miscOperations, type Readiness } from './resources/health/operations.ts';
import { openApiOf } from './http/open-api.ts';
import type { OperationLimits } from './http/operation.ts';
import { PodAnswer } from './resources/pods/response.ts';
import { podOperations } from './resources/pods/operations.ts';
import { podSchemas } from './resources/pods/schema.ts';
import { permissionOperations } from './objects/permission-operations.ts';
import { podNotFound } from './objects/access.ts';
import { reservedPaths } from './http/reserved-paths.ts';
import { DEFAULT_OPERATION_LIMITS, serve } from './http/serve.ts';

const DEFAULT_FAILED_LOGINS: RateLimit = { perMinute: 120, burst: 120 };
/** A client that is refused again and again leaves a line every two seconds. */
const REFUSED_LOG_LINES: RateLimit = { perMinute: 30, burst: 60 };

export interface ApiOptions extends Omit<PodParts, 'randomBytes' | 'newUid'> {
  readonly authenticator: Authenticator;
  readonly tenants: readonly { readonly id: string; readonly baseHost: string }[];
  /** Said in every envelope. */
  readonly version: string;
  /** The port clients dial. */
  readonly publicHttpsPort: number;
  /** Default: nobody is told of any. */
  readonly certificates?: Pick<CertificateAdmin, 'report'>;
  readonly readiness: () => Promise<Readiness>;
  /** What calls may hold at a time. Default: DEFAULT_CALL_LIMITS. */
  readonly calls?: CallLimits;
  /** Of operations that state none of their own. Default: DEFAULT_OPERATION_LIMITS. */
  readonly operationLimits?: OperationLimits;
  readonly slowReaders?: SlowReaderLimits;
  /** 401s an address gets; further ones are 429. */
  readonly failedLogins?: RateLimit;
  /** Host names of the control port beside those of loopback and its own addresses. Default: none. */
  readonly controlHosts?: readonly string[];
  /** Default: node:crypto. */
  readonly randomBytes?: (size: number) => Uint8Array;
  readonly newUid?: () => string;
}

export interface Api {
  /** For a server made with API_SERVER_OPTIONS; its 'clientError' is answerClientError's. */
  readonly listenerFor: (listener: Listener) => RequestListener;
  /** For metrics. */
  readonly numbers: () => ApiNumbers;
  /** The OpenAPI 3.1 document. */
  readonly openApi: object;
}

/** The control API: paths under `/v3` and without it, one envelope for every answer. It opens nothing. */
export function createApi(options: ApiOptions): Api {
  const { log, version } = options;
  const schemas = podSchemas(options.limits);
  const pods = createPodService({
    ...options,
    randomBytes: options.randomBytes ?? randomBytes,
    newUid: options.newUid ?? randomUUID,
  });
  const baseHosts = new Map(options.tenants.map(({ id, baseHost }) => [id, baseHost]));
  const operations = [
    // Before the paths of pods, none of which may have this id.
    ...(options.certificates === undefined ? [] : [certificatesOperation(options.certificates)]),
    ...podOperations({
      pods,
      schemas,
      templates: options.templates,
      placeOf: (tenant) => ({
        baseHost: baseHosts.get(tenant) ?? 'localhost',
        publicHttpsPort: options.publicHttpsPort,
      }),
    }),
    connectionsOperation(pods),
    ...permissionOperations(pods, schemas),
    ...miscOperations(options.readiness, log),
  ];
  const openApi = openApiOf(operations, {
    version,
    named: { ...schemas, Pod: PodAnswer, PodConnections: PodConnectionsAnswer, Certificates: CertificatesAnswer },
  });

  const router = new Router({ sensitive: true });
  for (const operation of operations) {
    const path = operation.path.replaceAll(/\{(\w+)\}/g, ':$1');
    router.register(
      path,
      operation.methods.map((method) => method.toUpperCase()),
      serve(operation, {
        authenticator: options.authenticator,
        limits: options.operationLimits ?? DEFAULT_OPERATION_LIMITS,
        version,
      }),
    );
  }
  // It never changes: all responses share these bytes.
  const openApiText = Buffer.from(JSON.stringify(openApi));
  router.get('/openapi.json', (context) => {
    context.body = openApiText;
    context.type = 'json';
  });

  const admission = new CallAdmission(options.calls ?? DEFAULT_CALL_LIMITS);
  const turns = new FairTurns();
  const slowReaders = new SlowReaders(options.slowReaders ?? DEFAULT_SLOW_READER_LIMITS);
  const shared = {
    ...{ log, version, admission, turns, slowReaders },
    controlHosts: controlHostNames([...baseHosts.values(), ...(options.controlHosts ?? [])]),
    failedLogins: new RatePerAddress(options.failedLogins ?? DEFAULT_FAILED_LOGINS),
    logLines: new RatePerAddress(REFUSED_LOG_LINES),
    monotonicMs: () => options.clock.monotonicMs(),
  };
  return {
    listenerFor: (listener) => {
      const app = new Koa();
      app.use(exchange({ ...shared, listener }));
      app.use(reservedPaths(operations, { collection: 'pods', ids: RESERVED_POD_IDS, notFound: podNotFound }));
      app.use(router.routes());
      app.use(router.allowedMethods());
      // What is left over is a connection that broke while the answer was on its way.
      app.on('error', (error: unknown) => log.debug({ error: errorText(error) }, 'an answer could not be delivered'));
      const handle = app.callback();
      return (request, response) => {
        void handle(request, response);
      };
    },
    numbers: () => ({
      calls: admission.calls,
      bytes: admission.bytes,
      waiting: turns.waiting,
      refused: admission.refused(),
      slowReaders: slowReaders.disconnected,
    }),
    openApi,
  };
}
