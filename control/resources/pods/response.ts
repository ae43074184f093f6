import { z } from 'zod';

import { HIDDEN_VALUE } from '../../../core/environment.ts';
import { podHost } from '../../../core/ids.ts';
import { timeToStopMs } from '../../../core/lifecycle/plan.ts';
import {
  POD_STATUSES,
  type PodRecord,
  type PodSpec,
  type Stanza,
  type StatusNames,
  statusName,
  TAPIS_STATUS_NAMES,
  type VolumeMount,
  WISHES,
} from '../../../core/pod.ts';
import { type CamelCase, camelCase } from '../../http/camel-fields.ts';
import { sleepAnswer } from './sleep/sleep-rules.ts';
import { storedFields } from './schema.ts';
import { wireFields } from './wire-names.ts';

const time = z.iso.datetime();

const StanzaAnswer = z.object({
  protocol: z.enum(['http', 'tcp', 'postgres', 'local_only']),
  port: z.int(),
  url: z.string().describe('Host name under which the stanza is reached; empty for local_only.'),
  public_port: z.int().describe('Port on which the gateway is reached.'),
  ip_allow_list: z.array(z.string()),
  tls: z.enum(['passthrough']).optional().describe('This and what follows is there where it differs from its default.'),
  backend_protocol: z.enum(['h2c']).optional(),
  proxy_protocol: z.enum(['v1', 'v2']).optional(),
  speaks_first: z.enum(['server']).optional(),
  client_ca: z.string().optional(),
  tapis_auth: z.boolean().optional(),
  tapis_auth_allowed_users: z.array(z.string()).optional(),
  tapis_auth_response_headers: z.record(z.string(), z.string()).optional(),
  tapis_auth_return_path: z.string().optional(),
  tapis_auth_excluded_paths: z.array(z.string()).optional(),
  tapis_ui_uri: z.string().optional(),
  tapis_ui_uri_redirect: z.boolean().optional(),
  tapis_ui_uri_description: z.string().optional(),
});

const VolumeMountAnswer = z.object({
  type: z.string(),
  mount_path: z.string().optional(),
  source_id: z.string().optional(),
  sub_path: z.string(),
  read_only: z.boolean().optional(),
  mounted_by: z.string().optional().describe('Of a named volume: by whose permission it is mounted.'),
});

/** A pod as every operation answers it: the fields of the seed, and those of the newer API that this release knows. */
export const PodAnswer = z.object({
  pod_id: z.string(),
  pod_template: z.string().describe('As it was written.'),
  template: z
    .string()
    .describe('The template behind it; of a template of a user its tag with the timestamp; empty for an image.'),
  image: z.string().describe('The image; empty for a template.'),
  ...storedFields,
  environment_variables: z
    .record(z.string(), z.string())
    .describe(`Values are ${HIDDEN_VALUE} for callers below USER.`),
  status_requested: z.enum(WISHES),
  volume_mounts: z.record(z.string(), VolumeMountAnswer).describe('In the shape in which they were written.'),
  time_to_stop_instance: z.int().nullable(),
  networking: z.record(z.string(), StanzaAnswer),
  routing_port: z.int().nullable().describe('Where networking is no more than a routing_port could say; else null.'),
  resources: z.object({
    cpu_request: z.int(),
    cpu_limit: z.int(),
    mem_request: z.int(),
    mem_limit: z.int(),
    gpus: z.int(),
  }),
  time_to_stop_ts: time.nullable(),
  sleep: z
    .object({ after_seconds: z.int(), hold_seconds: z.int(), probe_paths: z.array(z.string()) })
    .nullable()
    .describe('null: it never sleeps.'),
  asleep_since: time.nullable(),
  last_used_ts: time
    .nullable()
    .describe('The last use that gateways know of. In get_pod alone, of a pod that may sleep; null elsewhere.'),
  awake_because: z
    .array(z.string())
    .nullable()
    .describe('Why it does not go to sleep now: "1 open transaction". Where last_used_ts is; null while it sleeps.'),
  status: z
    .enum([...POD_STATUSES, ...Object.values(TAPIS_STATUS_NAMES)])
    .describe('By the names that status_names selects.'),
  status_container: z.object({
    phase: z.string().optional(),
    start_time: time.nullable().optional(),
    message: z.string().optional(),
    exit_code: z.int().nullable().optional(),
    signal: z.string().nullable().optional(),
    restarts: z.int().optional(),
  }),
  data_attached: z.array(z.string()),
  roles_inherited: z.array(z.string()),
  creation_ts: time,
  update_ts: time,
  start_instance_ts: time.nullable(),
  action_logs: z.array(z.string()).describe('The last 10.'),
  secret_map: z.record(z.string(), z.string()).describe('References, as they were written. Values are nowhere here.'),
  template_overrides: z.record(z.string(), z.unknown()).nullable(),
  cloned_from: z.string().describe('The pod whose data this one began with a copy of; empty: none.'),
  // What clients of the newer API read; there is nothing behind it in this release.
  compute_queue: z.literal('default'),
});

/** Where the pods of a tenant are reached. */
export interface PublicPlace {
  readonly baseHost: string;
  readonly publicHttpsPort: number;
}

/** The record as its user sees it: without tenant, uid, permissions and what belongs to a run. */
export function podAnswer(
  record: PodRecord,
  environment: Readonly<Record<string, string>>,
  place: PublicPlace,
  actions: readonly string[],
  isImage: boolean,
  statusNames: StatusNames,
): z.output<typeof PodAnswer> {
  const { spec } = record;
  return {
    pod_id: record.podId,
    pod_template: spec.writtenTemplate,
    template: spec.fromTemplate?.reference ?? (isImage ? '' : spec.template),
    image: isImage ? spec.template : '',
    ...storedAnswer(spec),
    environment_variables: { ...environment },
    status_requested: record.wish,
    volume_mounts: Object.fromEntries(spec.volumeMounts.map(volumeMountAnswer)),
    time_to_stop_instance: record.timeToStopInstance,
    networking: networkingAnswer(record, place),
    routing_port: routingPortOf(spec),
    resources: wireFields(spec.resources),
    time_to_stop_ts: timeToStopTs(record),
    sleep: sleepAnswer(spec),
    asleep_since: record.sleep?.stage === 'decided' ? isoTime(record.sleep.sinceMs) : null,
    last_used_ts: null,
    awake_because: null,
    status: statusName(record.status, statusNames),
    status_container: statusContainerAnswer(record),
    data_attached: [],
    roles_inherited: [],
    creation_ts: isoTime(record.createdAtMs),
    update_ts: isoTime(record.updatedAtMs),
    start_instance_ts: record.startInstanceMs === null ? null : isoTime(record.startInstanceMs),
    action_logs: [...actions],
    secret_map: Object.fromEntries(
      Object.entries(spec.secretMap ?? {}).map(([key, { reference }]) => [key, reference]),
    ),
    template_overrides: overridesAnswer(spec),
    cloned_from: record.clonedFrom?.podId ?? '',
    compute_queue: 'default',
  };
}

function overridesAnswer({ fromTemplate }: PodSpec): Record<string, unknown> | null {
  if (fromTemplate === undefined || fromTemplate.overrides === null) return null;
  const { volumeMounts, secretMap } = fromTemplate.overrides;
  const mounts = Object.entries(volumeMounts ?? {}).map(([path, change]) => [path, wireFields(change)] as const);
  return {
    ...(volumeMounts === undefined ? {} : { volume_mounts: Object.fromEntries(mounts) }),
    ...(secretMap === undefined ? {} : { secret_map: { ...secretMap } }),
  };
}

/** Host name of each stanza that has a route. */
export function outsideHosts({ podId, spec }: PodRecord, baseHost: string): Readonly<Record<string, string>> {
  const routed = Object.entries(spec.networking).filter(([, { protocol }]) => protocol !== 'local_only');
  return Object.fromEntries(routed.map(([name]) => [name, podHost(podId, name, baseHost)]));
}

export function networkingAnswer(record: PodRecord, place: PublicPlace): z.output<typeof PodAnswer>['networking'] {
  return Object.fromEntries(
    Object.entries(record.spec.networking).map(([name, stanza]) => {
      const url = stanza.protocol === 'local_only' ? '' : podHost(record.podId, name, place.baseHost);
      return [name, { ...stanzaAnswer(stanza), url, public_port: place.publicHttpsPort }];
    }),
  );
}

/** What a user could have written of it. */
export function stanzaAnswer({ protocol, port, ipAllowList, tapisAuthAllowedUsers, ...options }: Stanza) {
  const { tapisAuthResponseHeaders, tapisAuthExcludedPaths, ...others } = options;
  return {
    ...{ protocol, port, ip_allow_list: [...ipAllowList], ...wireFields(others) },
    ...(tapisAuthAllowedUsers === undefined ? {} : { tapis_auth_allowed_users: [...tapisAuthAllowedUsers] }),
    ...(tapisAuthResponseHeaders === undefined ? {} : { tapis_auth_response_headers: { ...tapisAuthResponseHeaders } }),
    ...(tapisAuthExcludedPaths === undefined ? {} : { tapis_auth_excluded_paths: [...tapisAuthExcludedPaths] }),
  };
}

export function volumeMountAnswer(mount: VolumeMount): [string, z.output<typeof VolumeMountAnswer>] {
  const { type, name, mountPath, subPath, readOnly, keyedBy, mountedBy } = mount;
  const by = mountedBy === undefined ? {} : { mounted_by: mountedBy };
  return keyedBy === 'name'
    ? [name, { type, mount_path: mountPath, sub_path: subPath, ...by, ...(readOnly ? { read_only: true } : {}) }]
    : [mountPath, { type, source_id: name, sub_path: subPath, read_only: readOnly, ...by }];
}

function routingPortOf({ networking }: PodSpec): number | null {
  const [only, ...others] = Object.entries(networking);
  if (only === undefined || others.length > 0) return null;
  const [name, { protocol, port, ipAllowList, ...options }] = only;
  const isPlain = ipAllowList.length === 0 && Object.keys(options).length === 0;
  return name === 'default' && protocol === 'http' && isPlain ? port : null;
}

function timeToStopTs(record: PodRecord): string | null {
  const stopAfterMs = timeToStopMs(record);
  return record.startInstanceMs === null || stopAfterMs === null ? null : isoTime(record.startInstanceMs + stopAfterMs);
}

function statusContainerAnswer({ statusContainer }: PodRecord): z.output<typeof PodAnswer>['status_container'] {
  if (statusContainer === null) return {};
  return wireFields(statusContainer);
}

type StoredAnswer = z.output<z.ZodObject<typeof storedFields>>;
/** A field of `storedFields` that the record lacks, or has with another type, does not compile. */
type StoredSpec = { readonly [K in keyof StoredAnswer as CamelCase<K>]: Readonly<StoredAnswer[K]> };
const STORED = Object.keys(storedFields).map((name) => [name, camelCase(name) as keyof StoredSpec] as const);

function storedAnswer(spec: StoredSpec): StoredAnswer {
  return Object.fromEntries(STORED.map(([name, field]) => [name, spec[field]])) as StoredAnswer;
}

/** ISO 8601 with `Z`: clients read times without a zone as local ones. */
function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
