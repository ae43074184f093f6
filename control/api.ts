import { randomBytes, randomUUID } from 'node:crypto';

import type { CertificateAdmin } from '../core/certificate-admin.ts';
import { RESERVED_POD_IDS } from '../core/ids.ts';
import type { LoginSeals } from '../core/pod-login.ts';
import type { StatusNames } from '../core/pod.ts';
import type { TenantPlace } from '../core/tenant-place.ts';
import type { VolumeFiles } from '../core/volume.ts';
import {
  type Application,
  type ApplicationNumbers,
  type ApplicationOptions,
  createApplication,
} from './http/application.ts';
import { controlHostNames } from './http/known-hosts.ts';
import { openApiOf, openApiOperation } from './http/open-api.ts';
import { eventsOperation, ObjectEvent } from './objects/events/events-operation.ts';
import { EventStreams, type EventStreamOptions } from './objects/events/event-streams.ts';
import { AuditAnswer, auditOperation, objectAuditOperation } from './objects/audit/operations.ts';
import { snapshotObjects, volumeObjects } from './objects/files/files-record.ts';
import { KeyedMutex } from './objects/keyed-mutex.ts';
import { permissionOperations, SetPermission } from './objects/permission-operations.ts';
import { CertificatesAnswer, certificatesOperation } from './resources/certificates/operations.ts';
import { type ConsoleParts, consoleOperations } from './resources/console/operations.ts';
import { ErrorStatus, miscOperations, type Readiness } from './resources/health/operations.ts';
import { imageOperations } from './resources/images/operations.ts';
import { createImageService } from './resources/images/image-service.ts';
import { ImageAnswer, NewImage, NewImages, UpdateImage } from './resources/images/schema.ts';
import { connectionsOperation, PodConnectionsAnswer } from './resources/pods/connections-operation.ts';
import { ExecutePodCommands, execOperation } from './resources/pods/exec/exec-operation.ts';
import { terminalOperation } from './resources/pods/exec/terminal-operation.ts';
import type { FrontDoor } from './resources/pods/explain/attempt.ts';
import { explainOperation, PodExplanation } from './resources/pods/explain/explain-operation.ts';
import { PodExplainer } from './resources/pods/explain/explain-pod.ts';
import { jupyterOperations } from './resources/pods/jupyter/operations.ts';
import { podFileOperations } from './resources/pods/files/operations.ts';
import { PodMetricsAnswer, podMetricsOperations } from './resources/pods/metrics/operations.ts';
import { podLoginOperations } from './resources/pods/login/operations.ts';
import { podNotFound } from './resources/pods/pod-objects.ts';
import { podOperations } from './resources/pods/operations.ts';
import { STATUS_NAMES, statusNamesOf } from './resources/pods/pod-query.ts';
import { podEvents } from './resources/pods/pod-events.ts';
import type { PodParts } from './resources/pods/pod-parts.ts';
import { createPodService } from './resources/pods/pod-service.ts';
import { PodAnswer, type PublicPlace } from './resources/pods/response.ts';
import { podSchemas } from './resources/pods/schema.ts';
import type { SnapshotCopies } from './resources/snapshots/copies.ts';
import { snapshotOperations } from './resources/snapshots/operations.ts';
import { SnapshotAnswer, snapshotSchemas } from './resources/snapshots/schema.ts';
import { volumeOperations } from './resources/volumes/operations.ts';
import type { VolumeRestores } from './resources/volumes/restores.ts';
import { VolumeAnswer, volumeSchemas } from './resources/volumes/schema.ts';
import { unavailableOperations } from './resources/tapis/unavailable-operations.ts';
import { secretOperations } from './resources/secrets/operations.ts';
import { NewSecret, SecretAnswer, UpdateSecret } from './resources/secrets/schema.ts';
import { createSecretService, secretObjects } from './resources/secrets/secret-service.ts';
import { templateOperations } from './resources/templates/operations.ts';
import {
  NewTemplate,
  NewTemplateTagFromPod,
  TemplateAnswer,
  templateSchemas,
  TemplateTagAnswer,
  UpdateTemplate,
} from './resources/templates/schema.ts';
import { saveOperation } from './resources/templates/save-operation.ts';
import { createTagService } from './resources/templates/tag-service.ts';
import { templateObjects } from './resources/templates/template-objects.ts';
import { createTemplateService } from './resources/templates/template-service.ts';
import { tenantOperations } from './resources/tenants/operations.ts';

export interface ApiOptions
  extends
    Omit<PodParts, 'randomBytes' | 'newUid' | 'tags' | 'schemas'>,
    Omit<ApplicationOptions, 'reserved' | 'controlHosts' | 'monotonicMs' | 'log' | 'sessions'> {
  readonly tenants: readonly TenantPlace[];
  /** The port clients dial. */
  readonly publicHttpsPort: number;
  /** Default: none are reported. */
  readonly certificates?: Pick<CertificateAdmin, 'report'>;
  readonly readiness: () => Promise<Readiness>;
  /** Where this replica's own gateway is dialed to explain a connection. Default: it has none. */
  readonly frontDoor?: FrontDoor | null;
  /** Volumes and snapshots; absent: the orchestrator has none. `maxSizeMiB`: of the greatest size_limit. */
  readonly volumes?: {
    readonly files: VolumeFiles;
    readonly copies: SnapshotCopies;
    readonly restores: VolumeRestores;
    readonly maxSizeMiB: number;
  };
  /** Of the console. Default: there is none. */
  readonly console?: ConsoleParts;
  /** Of logins in front of pods. Default: there are none. */
  readonly loginSeals?: LoginSeals;
  /** By which names statuses are returned unless a call says otherwise. Default: seed. */
  readonly statusNames?: StatusNames;
  /** Host names of the control port beside those of loopback and its own addresses. Default: none. */
  readonly controlHosts?: readonly string[];
  /** Bounds and times of streams of events, where they differ from those that are usual. */
  readonly events?: Pick<EventStreamOptions, 'limits' | 'queueBytes' | 'heartbeatMs' | 'lifetimeMs'>;
  /** Default: node:crypto. */
  readonly randomBytes?: (size: number) => Uint8Array;
  readonly newUid?: () => string;
}

export interface ApiNumbers extends ApplicationNumbers {
  /** Streams of events that are open. */
  readonly eventStreams: number;
  /** Streams of events ended so far because their client was too slow. */
  readonly slowEventStreams: number;
}

export interface Api extends Omit<Application, 'numbers'> {
  readonly numbers: () => ApiNumbers;
  /** The OpenAPI 3.1 document. */
  readonly openApi: object;
}

/** The control API: the operations of all resources, put together. It opens nothing. */
export function createApi(options: ApiOptions): Api {
  const { version } = options;
  const schemas = podSchemas(options.limits);
  const newUid = options.newUid ?? randomUUID;
  const mutex = new KeyedMutex();
  const secrets = createSecretService({ ...options, newUid, mutex });
  const templateParts = { ...options, newUid, mutex, catalog: options.templates };
  const templates = createTemplateService(templateParts);
  const tags = createTagService(templateParts);
  const podParts = { ...options, randomBytes: options.randomBytes ?? randomBytes, newUid, tags, schemas };
  const pods = createPodService(podParts);
  const ofTemplates = templateSchemas(schemas.PodDefinition);
  const ofVolumes = volumeSchemas({ maxSizeMiB: options.volumes?.maxSizeMiB ?? 1 });
  const ofSnapshots = snapshotSchemas({
    maxSizeMiB: options.volumes?.maxSizeMiB ?? 1,
    podId: schemas.NewPod.shape.pod_id,
  });
  const filesParts = {
    ...{ store: options.store, clock: options.clock, admission: options.admission, mutex, newUid },
  };
  const baseHosts = new Map(options.tenants.map(({ id, baseHost }) => [id, baseHost]));
  const placeOf = (tenant: string): PublicPlace => ({
    baseHost: baseHosts.get(tenant) ?? 'localhost',
    publicHttpsPort: options.publicHttpsPort,
  });
  const statusNames = options.statusNames ?? 'seed';
  const streams = new EventStreams({
    ...{ store: options.store, log: options.log, kinds: [podEvents(pods)] },
    ...options.events,
  });
  const auditOperations = [
    auditOperation(options),
    objectAuditOperation(pods.objects, options, '/pods'),
    objectAuditOperation(secretObjects(options.store, options.log), options, '/pods/secrets'),
    objectAuditOperation(templateObjects(options.store, options.log), options, '/pods/templates'),
    ...(options.volumes === undefined
      ? []
      : [
          objectAuditOperation(volumeObjects(options.store), options, '/pods/volumes'),
          objectAuditOperation(snapshotObjects(options.store), options, '/pods/snapshots'),
        ]),
  ];
  const operations = [
    ...(options.certificates === undefined ? [] : [certificatesOperation(options.certificates)]),
    eventsOperation({
      streams,
      statusNames: STATUS_NAMES,
      statusNamesOf: (query) => statusNamesOf(query, statusNames),
    }),
    ...secretOperations(secrets),
    ...imageOperations(createImageService({ ...options, newUid, mutex })),
    ...templateOperations({ ...templateParts, templates, tags, schemas: ofTemplates }),
    saveOperation({ ...templateParts, tags, pods }),
    ...podOperations({ ...{ pods, schemas, statusNames, placeOf }, templates: options.templates }),
    ...jupyterOperations({ pods, tags, schemas, statusNames, placeOf }),
    ...(options.loginSeals === undefined ? [] : podLoginOperations({ ...options, seals: options.loginSeals })),
    connectionsOperation(pods),
    ...podMetricsOperations(pods),
    explainOperation(new PodExplainer(podParts), placeOf),
    execOperation(pods),
    terminalOperation(pods),
    ...podFileOperations(pods),
    ...permissionOperations('pod', pods.permissions),
    ...(options.volumes === undefined
      ? []
      : [
          ...volumeOperations({ ...filesParts, ...options.volumes, schemas: ofVolumes }),
          ...snapshotOperations({
            ...{ ...filesParts, ...options.volumes, schemas: ofSnapshots },
            sourcePodOf: (caller, podId) => pods.snapshotPod(caller, podId),
          }),
        ]),
    ...auditOperations,
    ...tenantOperations(options),
    ...miscOperations(options.readiness, options.log),
  ];
  const openApi = openApiOf(operations, {
    version,
    pathParameters: {
      pod_id: { example: 'mypg' },
      pod_id_net: { example: 'mypg' },
      volume_id: { example: 'myfiles' },
      snapshot_id: { example: 'mysnapshot' },
      secret_id: { example: 'apikey' },
      template_id: { example: 'mytemplate' },
      tag_id: { example: 'latest' },
      image_id: { example: 'library/redis' },
      path: { example: 'data.csv' },
      url_path: { example: '/data.csv' },
      user: { example: 'bob' },
      status: { example: '503', schema: ErrorStatus },
      tenant_id: { example: options.tenants[0]?.id ?? '' },
      site_id: { example: options.site },
    },
    named: {
      ...schemas,
      ...(options.volumes === undefined
        ? {}
        : { ...ofVolumes, Volume: VolumeAnswer, ...ofSnapshots, Snapshot: SnapshotAnswer }),
      SetPermission,
      ExecutePodCommands,
      NewSecret,
      UpdateSecret,
      Secret: SecretAnswer,
      NewImage,
      NewImages,
      UpdateImage,
      Image: ImageAnswer,
      NewTemplate,
      UpdateTemplate,
      NewTemplateTagFromPod,
      ...ofTemplates,
      Template: TemplateAnswer,
      TemplateTag: TemplateTagAnswer,
      Pod: PodAnswer,
      PodConnections: PodConnectionsAnswer,
      PodMetrics: PodMetricsAnswer,
      PodExplanation,
      Certificates: CertificatesAnswer,
      ObjectEvent,
      AuditEntry: AuditAnswer,
    },
  });
  const { console } = options;
  const ofConsole = console === undefined ? [] : consoleOperations({ ...options, ...console });
  const served = [...operations, openApiOperation(openApi), ...ofConsole];
  const application = createApplication([...served, ...unavailableOperations(served)], {
    ...options,
    ...(console === undefined ? {} : { sessions: console.sessions }),
    reserved: { collection: 'pods', ids: RESERVED_POD_IDS, notFound: podNotFound },
    controlHosts: controlHostNames([...baseHosts.values(), ...(options.controlHosts ?? [])]),
    monotonicMs: () => options.clock.monotonicMs(),
  });
  const numbers = (): ApiNumbers => ({
    ...application.numbers(),
    eventStreams: streams.count,
    slowEventStreams: streams.tooSlow,
  });
  return { ...application, numbers, openApi };
}
