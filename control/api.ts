import { randomBytes, randomUUID } from 'node:crypto';

import type { CertificateAdmin } from '../core/certificate-admin.ts';
import { RESERVED_POD_IDS } from '../core/ids.ts';
import type { StatusNames } from '../core/pod.ts';
import { type Application, type ApplicationOptions, createApplication } from './http/application.ts';
import { controlHostNames } from './http/known-hosts.ts';
import { openApiOf, openApiOperation } from './http/open-api.ts';
import { permissionOperations, SetPermission } from './objects/permission-operations.ts';
import { CertificatesAnswer, certificatesOperation } from './resources/certificates/operations.ts';
import { miscOperations, type Readiness } from './resources/health/operations.ts';
import { connectionsOperation, PodConnectionsAnswer } from './resources/pods/connections-operation.ts';
import { podNotFound } from './resources/pods/pod-objects.ts';
import { podOperations } from './resources/pods/operations.ts';
import type { PodParts } from './resources/pods/pod-parts.ts';
import { createPodService } from './resources/pods/pod-service.ts';
import { PodAnswer } from './resources/pods/response.ts';
import { podSchemas } from './resources/pods/schema.ts';
import { unavailableOperations } from './resources/tapis/unavailable-operations.ts';
import { tenantOperations } from './resources/tenants/operations.ts';

export interface ApiOptions
  extends
    Omit<PodParts, 'randomBytes' | 'newUid'>,
    Omit<ApplicationOptions, 'reserved' | 'controlHosts' | 'monotonicMs' | 'log'> {
  readonly tenants: readonly { readonly id: string; readonly baseHost: string }[];
  /** The port clients dial. */
  readonly publicHttpsPort: number;
  /** Default: nobody is told of any. */
  readonly certificates?: Pick<CertificateAdmin, 'report'>;
  readonly readiness: () => Promise<Readiness>;
  /** By which names statuses are returned unless a call says otherwise. Default: seed. */
  readonly statusNames?: StatusNames;
  /** Host names of the control port beside those of loopback and its own addresses. Default: none. */
  readonly controlHosts?: readonly string[];
  /** Default: node:crypto. */
  readonly randomBytes?: (size: number) => Uint8Array;
  readonly newUid?: () => string;
}

export interface Api extends Application {
  /** The OpenAPI 3.1 document. */
  readonly openApi: object;
}

/** The control API: the operations of all resources, put together. It opens nothing. */
export function createApi(options: ApiOptions): Api {
  const { version } = options;
  const schemas = podSchemas(options.limits);
  const pods = createPodService({
    ...options,
    randomBytes: options.randomBytes ?? randomBytes,
    newUid: options.newUid ?? randomUUID,
  });
  const baseHosts = new Map(options.tenants.map(({ id, baseHost }) => [id, baseHost]));
  const operations = [
    ...(options.certificates === undefined ? [] : [certificatesOperation(options.certificates)]),
    ...podOperations({
      pods,
      schemas,
      templates: options.templates,
      statusNames: options.statusNames ?? 'seed',
      placeOf: (tenant) => ({
        baseHost: baseHosts.get(tenant) ?? 'localhost',
        publicHttpsPort: options.publicHttpsPort,
      }),
    }),
    connectionsOperation(pods),
    ...permissionOperations('pod', pods.permissions),
    ...tenantOperations(options),
    ...miscOperations(options.readiness, options.log),
  ];
  const openApi = openApiOf(operations, {
    version,
    named: {
      ...schemas,
      SetPermission,
      Pod: PodAnswer,
      PodConnections: PodConnectionsAnswer,
      Certificates: CertificatesAnswer,
    },
  });
  const served = [...operations, openApiOperation(openApi)];
  const application = createApplication([...served, ...unavailableOperations(served)], {
    ...options,
    reserved: { collection: 'pods', ids: RESERVED_POD_IDS, notFound: podNotFound },
    controlHosts: controlHostNames([...baseHosts.values(), ...(options.controlHosts ?? [])]),
    monotonicMs: () => options.clock.monotonicMs(),
  });
  return { ...application, openApi };
}
