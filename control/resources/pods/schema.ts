import { z } from 'zod';

import { parseAddressRange } from '../../../core/address-range.ts';
import { stanzaProblem } from '../../../core/ids.ts';
import { parseSecretReference, SECRET_KEY } from '../../../core/placeholders.ts';
import { WISHES } from '../../../core/pod.ts';
import { filesId } from '../../objects/files/fields.ts';
import { clientCaProblem } from './client-ca.ts';
import { loginFields } from './login-fields.ts';
import type { PodLimits } from './pod-limits.ts';
import { asciiText } from '../../http/ascii-text.ts';
import { boundedList, boundedRecord, boundedText, ruled } from '../../http/bounded.ts';
import { numeric } from '../../http/numeric.ts';
import {
  idlePodFields,
  idleStanzaFields,
  idleMountFields,
  linkFields,
  nullAsAbsent,
  zeroAsNull,
} from './tapis-fields.ts';

const STANZAS_MAX = 3;
const PORT_MIN = 10;
const PORT_MAX = 65_535;
const IP_ENTRIES_MAX = 100;
/** The longest IPv6 address with an IPv4 address in it, and a prefix length. */
const ADDRESS_BLOCK_MAX_LENGTH = 49;
const TEMPLATE_MAX_LENGTH = 256;
const DESCRIPTION_MAX_LENGTH = 255;
const WORDS_MAX = 256;
const TEXT_MAX_LENGTH = 32_768;
const VARIABLES_MAX = 256;
const VARIABLE_NAME_MAX_LENGTH = 256;
/** Of all words of a command, and of all variables with their names. */
const TOTAL_MAX_BYTES = 65_536;
const STORED_LIST_MAX = 100;
const SECRETS_MAX = 64;
const SECRET_REFERENCE_MAX_LENGTH = 1_024;
const PATH_MAX_LENGTH = 255;
const MOUNTS_MAX = 10;
const TIME_TO_STOP_MAX_SECONDS = 10 * 365 * 86_400;
const SLEEP_AFTER_MIN_SECONDS = 60;
const HOLD_MAX_SECONDS = 120;
const PROBE_PATHS_MAX = 10;

const PROTOCOLS = ['http', 'tcp', 'postgres', 'local_only'] as const;

const noNul = (text: string): boolean => !text.includes('\0');
const bytesOf = (texts: readonly string[]): number => texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);

const text = boundedText(TEXT_MAX_LENGTH).refine(noNul, 'must not contain NUL bytes');

const words = (what: string) =>
  boundedList(text, WORDS_MAX)
    .refine((list) => bytesOf(list) <= TOTAL_MAX_BYTES, `must have at most ${TOTAL_MAX_BYTES} bytes in all`)
    .nullable()
    .describe(what);

const environment = boundedRecord(
  boundedText(VARIABLE_NAME_MAX_LENGTH).regex(
    /^[-._a-zA-Z][-._a-zA-Z0-9]*$/,
    'must contain only letters, digits, "_", "-" and "." and must not start with a digit',
  ),
  text,
  { most: VARIABLES_MAX },
)
  .refine(
    (all) => bytesOf(Object.entries(all).flat()) <= TOTAL_MAX_BYTES,
    `must have at most ${TOTAL_MAX_BYTES} bytes in all, names and values`,
  )
  .describe('Environment of the pod; for templates that take a command.');

const description = asciiText('description', DESCRIPTION_MAX_LENGTH);

const secretMap = boundedRecord(
  boundedText(128).regex(SECRET_KEY, 'must contain only letters, digits and "_" and must not start with a digit'),
  boundedText(SECRET_REFERENCE_MAX_LENGTH).refine(
    (value) => parseSecretReference(value) !== null,
    'must be ${secret:name}, ${secret:user:name}, ${pods:default:value} or ${pods:random:N} with N from 8 to 128',
  ),
  { most: SECRETS_MAX },
).describe('What ${pods:secrets:KEY} stands for in environment variables, command and arguments: ${secret:name}.');

const storedList = (what: string) => boundedList(boundedText(256), STORED_LIST_MAX).describe(what);

const templateName = (what: string) =>
  boundedText(TEMPLATE_MAX_LENGTH)
    .regex(/^[\x21-\x7e]*$/, 'must contain only printable ASCII characters and no spaces')
    .describe(what);

const port = numeric(z.int().min(PORT_MIN).max(PORT_MAX));

const stanza = z.strictObject({
  protocol: z
    .preprocess((value) => (typeof value === 'string' ? value.toLowerCase() : value), z.enum(PROTOCOLS))
    .optional()
    .describe('local_only is reachable from within the cluster alone. Default: http.'),
  port: port.optional().describe('Port on which the pod listens. Default: 5000.'),
  ip_allow_list: boundedList(
    boundedText(ADDRESS_BLOCK_MAX_LENGTH).refine(
      (entry) => parseAddressRange(entry) !== null,
      'must be an IP address or a CIDR block',
    ),
    IP_ENTRIES_MAX,
  )
    .optional()
    .describe('Addresses that may connect; empty: everyone.'),
  tls: z
    .enum(['terminate', 'passthrough', 'reencrypt'])
    .optional()
    .describe("passthrough: TLS is the pod's own, with its own certificate. Default: the gateway ends TLS."),
  backend_protocol: z
    .enum(['http1', 'h2c'])
    .optional()
    .describe('What an http pod speaks: h2c is HTTP/2 without TLS, as gRPC servers do. Default: http1.'),
  proxy_protocol: z
    .enum(['none', 'v1', 'v2'])
    .optional()
    .describe("Tells the pod its client's address by a PROXY header of this version. Default: none."),
  speaks_first: z
    .enum(['client', 'server'])
    .optional()
    .describe(
      'server: clients of this tcp stanza wait for the first words of the server, so that a connection alone wakes the pod. Default: client.',
    ),
  client_ca: z
    .string()
    .check(ruled(clientCaProblem))
    .optional()
    .describe('CA certificates in PEM form: clients must show a certificate that one of them issued. Empty: none.'),
  ...loginFields,
  ...linkFields,
  ...idleStanzaFields,
  url: boundedText(255).optional().describe('Set by the service; what is sent is ignored.'),
  public_port: numeric(z.int()).optional().describe('Set by the service; what is sent is ignored.'),
});

const networking = boundedRecord(z.string().check(ruled(stanzaProblem)), stanza, {
  least: 1,
  most: STANZAS_MAX,
}).describe('By stanza name; "default" is reached at <pod_id>.pods.<base host>, others at <pod_id>-<name>.pods...');

const volumeMount = z.strictObject({
  type: z
    .enum(['pvc', 'tapisvolume', 'tapissnapshot', 'ephemeral'])
    .describe(
      "tapisvolume: a named volume. tapissnapshot: a snapshot. pvc: a volume of the pod's own, with orchestrators that run containers.",
    ),
  mount_path: boundedText(PATH_MAX_LENGTH)
    .optional()
    .describe('Where the key is a name. Default: /tapis_volume_mount.'),
  source_id: boundedText(128).nullish().describe('Name of the volume, where the key is a path.'),
  sub_path: boundedText(PATH_MAX_LENGTH).optional().describe('Directory within the volume. Default: all of it.'),
  read_only: nullAsAbsent(z.boolean().optional()).describe(
    'Default: false; true for a snapshot. Of a named volume, a read-only mount needs READ, any other USER.',
  ),
  mounted_by: boundedText(255).nullish().describe('Set by the service; what is sent is ignored.'),
  ...idleMountFields,
});

const volumeMounts = boundedRecord(boundedText(PATH_MAX_LENGTH), volumeMount.nullable(), { most: MOUNTS_MAX }).describe(
  'By name of the volume, or by path (keys that start with "/"). They keep their data while the pod is stopped. null: not what a template mounts there.',
);

const templateOverrides = z
  .strictObject({
    volume_mounts: boundedRecord(boundedText(PATH_MAX_LENGTH), volumeMount.partial(), { most: MOUNTS_MAX }).optional(),
    secret_map: secretMap.optional(),
  })
  .nullable()
  .describe('Changes of what the template says, by path and key of its volume_mounts and secret_map.');

const sleep = z
  .strictObject({
    after_seconds: numeric(z.int().min(SLEEP_AFTER_MIN_SECONDS).max(TIME_TO_STOP_MAX_SECONDS)).describe(
      'Without use for this long, the pod goes to sleep.',
    ),
    hold_seconds: numeric(z.int().min(1).max(HOLD_MAX_SECONDS))
      .optional()
      .describe('How long a client waits at most while the pod wakes. Default: 60.'),
    probe_paths: boundedList(
      boundedText(PATH_MAX_LENGTH).regex(/^\/[\x21-\x7e]*$/, 'must start with "/" and be as it is in the request'),
      PROBE_PATHS_MAX,
    )
      .optional()
      .describe('Paths of uptime probes: they do not wake the pod; the gateway answers while it sleeps.'),
  })
  .nullable()
  .describe('When the pod goes to sleep; a client that connects wakes it. null: never (the default).');

const sentTemplate = templateName('Accepted if it is what the pod runs: it cannot be changed.').optional();

/**
 * Fields that responses return as they are stored, with their types there. A field is returned only if it is here, or in
 * PodAnswer (response.ts), where the fields are that are stored in another form.
 */
export const storedFields = {
  description: z.string(),
  command: z.array(z.string()).nullable(),
  arguments: z.array(z.string()).nullable(),
  data_requests: z.array(z.string()),
  roles_required: z.array(z.string()),
  time_to_stop_default: z.int(),
  persistent_volume: z.boolean(),
};

/** The bodies of the seed-era API with every bound. Each field is checked by itself (see checkFields). */
export function podSchemas(limits: PodLimits) {
  const minimum = limits.minTimeToStopSeconds;
  const timeToStop = (isAllowed: (seconds: number) => boolean, what: string) =>
    numeric(z.int().max(TIME_TO_STOP_MAX_SECONDS).refine(isAllowed, what));
  const cpu = numeric(z.int().min(limits.cpu.minimum).max(limits.cpu.maximum));
  const memory = numeric(z.int().min(limits.memory.minimum).max(limits.memory.maximum));

  const resources = z
    .strictObject({
      cpu_request: cpu.optional().describe('Millicpu.'),
      cpu_limit: cpu.optional().describe('Millicpu.'),
      mem_request: memory.optional().describe('MiB.'),
      mem_limit: memory.optional().describe('MiB.'),
      gpus: numeric(z.int().min(0).max(limits.gpusMaximum)).optional(),
    })
    .describe('What the pod gets; a request is at most its limit.');

  const fields = {
    description: description.optional(),
    command: words('Overrides the command of the image; what a podgate/process pod runs.').optional(),
    arguments: words('Arguments of the command.').optional(),
    environment_variables: environment.optional(),
    secret_map: secretMap.optional(),
    data_requests: storedList('Stored and given back.').optional(),
    roles_required: storedList('Stored and given back.').optional(),
    status_requested: z.enum(WISHES).optional().describe('Default: ON. Changing it later needs ADMIN.'),
    volume_mounts: volumeMounts.optional(),
    time_to_stop_default: timeToStop(
      (seconds) => seconds === -1 || seconds >= minimum,
      `must be -1 (never) or at least ${minimum} seconds`,
    )
      .optional()
      .describe('Seconds from the start of an instance to its stop; -1 = never.'),
    time_to_stop_instance: zeroAsNull(
      timeToStop(
        (seconds) => seconds === -1 || seconds === 0 || seconds >= minimum,
        `must be -1 (never), null (the default) or at least ${minimum} seconds`,
      ).nullable(),
    )
      .optional()
      .describe('The same for one instance only; null or 0 = the default.'),
    sleep: sleep.optional(),
    networking: networking.optional(),
    routing_port: port.optional().describe('Short for networking.default with protocol http and this port.'),
    persistent_volume: z.boolean().optional().describe("Keep the template's data when the pod stops."),
    resources: resources.optional(),
    template_overrides: templateOverrides.optional(),
    ...idlePodFields,
  };
  const UpdatePod = z
    .strictObject({
      ...fields,
      description: nullAsAbsent(fields.description),
      environment_variables: nullAsAbsent(fields.environment_variables),
      secret_map: nullAsAbsent(fields.secret_map),
      status_requested: nullAsAbsent(fields.status_requested),
      volume_mounts: nullAsAbsent(fields.volume_mounts),
      time_to_stop_default: nullAsAbsent(fields.time_to_stop_default),
      networking: nullAsAbsent(fields.networking),
      resources: nullAsAbsent(fields.resources),
      pod_template: sentTemplate,
      template: sentTemplate,
      image: sentTemplate,
    })
    .meta({ examples: [{ description: 'A database for tests.', time_to_stop_default: 86_400 }] });

  const NewPod = z
    .strictObject({
      pod_id: z
        .string()
        .meta({ minLength: 3, maxLength: 63, pattern: '^[a-z][a-z0-9]+$' })
        .describe('Name of the pod, and the first label of its host name.'),
      ...fields,
      pod_template: templateName('A template, such as neo4j, or an image on the allow list.').optional(),
      template: templateName('The newer name of pod_template.').optional(),
      image: templateName('The newer name of pod_template.').optional(),
    })
    .meta({ examples: [{ pod_id: 'mypg', template: 'template/postgres', description: 'A database.' }] });

  const PodDefinition = z.strictObject({
    template: nullAsAbsent(templateName('The template that this one is based on.').optional()),
    image: nullAsAbsent(templateName('An image on the allow list.').optional()),
    description: nullAsAbsent(fields.description),
    command: nullAsAbsent(fields.command),
    arguments: nullAsAbsent(fields.arguments),
    environment_variables: nullAsAbsent(fields.environment_variables),
    secret_map: nullAsAbsent(fields.secret_map),
    volume_mounts: nullAsAbsent(fields.volume_mounts),
    time_to_stop_default: nullAsAbsent(fields.time_to_stop_default),
    time_to_stop_instance: nullAsAbsent(fields.time_to_stop_instance),
    sleep: nullAsAbsent(fields.sleep),
    networking: nullAsAbsent(fields.networking),
    persistent_volume: nullAsAbsent(fields.persistent_volume),
    resources: nullAsAbsent(fields.resources),
    compute_queue: nullAsAbsent(idlePodFields.compute_queue),
  });

  const ClonePod = z
    .strictObject({
      pod_id: NewPod.shape.pod_id,
      at: z.iso
        .datetime({ offset: true })
        .nullish()
        .describe(
          'A point in time: the newest complete snapshot of the data of then or before is cloned. Default: the data of now.',
        ),
      snapshot_id: filesId(
        'A snapshot of the data of this pod, or of another one of its template: that data is cloned. USER on it.',
      ).nullish(),
    })
    .meta({ examples: [{ pod_id: 'mypgcopy' }] });

  return { NewPod, UpdatePod, PodDefinition, ClonePod };
}

export type PodSchemas = ReturnType<typeof podSchemas>;
