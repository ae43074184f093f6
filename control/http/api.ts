import { randomBytes, randomUUID } from 'node:crypto';
import type { RequestListener } from 'node:http';

import Router from '@koa/router';
import Koa from 'koa';

import type { CertificateAdmin } from '../../core/certificate-admin.ts';
import { errorText } from '../../core/errors.ts';
import type { Authenticator } from '../auth/authenticator.ts';
import type { PodParts } from '../pods/pod-parts.ts';
import { createPodService } from '../pods/pod-service.ts';
import { BODY_MAX_BYTES, BODY_TIMEOUT_MS, type BodyLimits } from './body.ts';
import { connectionsOperation, PodConnectionsAnswer } from './connections-operation.ts';
import { CertificatesAnswer, certificatesOperation } from './certificates-operation.ts';
import { exchange } from './exchange.ts';
import { miscOperations, type Readiness } from './misc-operations.ts';
import { openApiOf } from './open-api.ts';
import { PodAnswer } from './pod-answer.ts';
import { podOperations } from './pod-operations.ts';
import { podSchemas } from './pod-schemas.ts';
import { permissionOperations } from './permission-operations.ts';
import { serve } from './serve.ts';

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
  readonly body?: BodyLimits;
  /** Default: node:crypto. */
  readonly randomBytes?: (size: number) => Uint8Array;
  readonly newUid?: () => string;
}

export interface Api {
  /** For a server made with API_SERVER_OPTIONS; its 'clientError' is answerClientError's. */
  readonly handler: RequestListener;
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
        body: options.body ?? { maxBytes: BODY_MAX_BYTES, timeoutMs: BODY_TIMEOUT_MS },
        version,
      }),
    );
  }
  router.get('/openapi.json', (context) => {
    context.body = openApi;
  });

  const app = new Koa();
  app.use(exchange({ log, version }));
  app.use(router.routes());
  app.use(router.allowedMethods());
  // What is left over is a connection that broke while the answer was on its way.
  app.on('error', (error: unknown) => log.debug({ error: errorText(error) }, 'an answer could not be delivered'));
  const handle = app.callback();
  return {
    handler: (request, response) => {
      void handle(request, response);
    },
    openApi,
  };
}
