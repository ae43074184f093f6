import { resolve } from 'node:path';
import { z } from 'zod';
import { addressRangeText, parseAddressRange } from '../core/address-range.ts';
import type { KubernetesConfig } from './config.ts';
import { ADDRESS_RANGE_RULE, isNamespace, NAMESPACE_RULE } from './names.ts';

const DEFAULT_NAMESPACE = 'podgate-pods';

const text = z.string().min(1, { error: 'must not be empty' });
const name = z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, {
  error: 'must be the name of a Kubernetes object: lowercase letters, digits, inner hyphens and dots',
});
const LABEL_VALUE = /^([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?$/;
const LABEL_KEY = /^([a-z0-9.-]{1,253}\/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/;
const labels = z.record(
  z.string().regex(LABEL_KEY, { error: 'must be the key of a Kubernetes label' }),
  z.string().regex(LABEL_VALUE, { error: 'must be the value of a Kubernetes label' }),
);
/** In canonical form: IPv4 mapped to IPv6 goes into the IPv4 rule of a policy. */
const network = z.string().transform((text, context) => {
  const range = text.includes('/') ? parseAddressRange(text) : null;
  if (range !== null) return addressRangeText(range);
  context.addIssue(`${ADDRESS_RANGE_RULE}, with a prefix length`);
  return z.NEVER;
});

/** `kubernetes:` of the YAML file. */
export const kubernetesSection = z.strictObject({
  storageClass: name.optional(),
  volumeSizeMiB: z.int().min(1).default(10_240),
  ephemeralStorage: z
    .strictObject({ requestMiB: z.int().min(1).default(128), limitMiB: z.int().min(1).default(2_048) })
    .refine(({ requestMiB, limitMiB }) => requestMiB <= limitMiB, {
      error: 'requestMiB must not be greater than limitMiB',
    })
    .prefault({}),
  volumeAccessMode: z.enum(['ReadWriteOnce', 'ReadWriteOncePod']).default('ReadWriteOnce'),
  namedVolumes: z
    .strictObject({
      storageClass: name.nullable().default(null),
      accessMode: z.enum(['ReadWriteOnce', 'ReadWriteMany']).default('ReadWriteOnce'),
    })
    .prefault({}),
  podSecurity: z.enum(['restricted', 'baseline']).default('restricted'),
  templateImages: z.partialRecord(z.enum(['template/postgres', 'template/neo4j', 'podgate/hello']), text).default({}),
  imagePullSecrets: z.array(name).default([]),
  nodeSelector: labels.default({}),
  tolerations: z
    .array(
      z
        .strictObject({
          key: text.optional(),
          operator: z.enum(['Exists', 'Equal']).optional(),
          value: z.string().optional(),
          effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional(),
          tolerationSeconds: z.int().min(0).max(86_400).optional(),
        })
        .refine(({ effect, tolerationSeconds }) => tolerationSeconds === undefined || effect === 'NoExecute', {
          error: 'tolerationSeconds requires the effect NoExecute',
        }),
    )
    .default([]),
  gateway: z
    .strictObject({
      namespace: z.string().refine(isNamespace, { error: NAMESPACE_RULE }).default('podgate'),
      labels: labels
        .refine((given) => Object.keys(given).length > 0, {
          error: 'must have at least one label: without any, it would match every pod',
        })
        .default({ 'app.kubernetes.io/name': 'podgate', 'app.kubernetes.io/component': 'gateway' }),
    })
    .prefault({}),
  egressExcept: z.array(network).default([]),
  nameServers: z.array(network).max(16, { error: 'must be at most 16 addresses' }).default([]),
});

/**
 * The settings of the orchestrator `kubernetes`, or null with another one; what is set without it is a mistake. The
 * account of the pod we run in is recognised as the client library does: by the address that every pod is given.
 */
export function kubernetesConfigOf(
  given: {
    readonly orchestrator: 'process' | 'kubernetes';
    readonly namespace: string | undefined;
    readonly section: z.infer<typeof kubernetesSection> | undefined;
  },
  env: NodeJS.ProcessEnv,
  cwd: string,
  problems: string[],
): KubernetesConfig | null {
  if (given.orchestrator === 'process') {
    if (given.namespace !== undefined) {
      problems.push('PODGATE_NAMESPACE: requires PODGATE_ORCHESTRATOR=kubernetes; set that, or unset this.');
    }
    if (given.section !== undefined) {
      problems.push('PODGATE_CONFIG kubernetes: requires PODGATE_ORCHESTRATOR=kubernetes; set that, or remove this.');
    }
    return null;
  }
  const kubeconfig = env['KUBECONFIG'] ?? '';
  const isInCluster = (env['KUBERNETES_SERVICE_HOST'] ?? '') !== '';
  if (kubeconfig === '' && !isInCluster) {
    problems.push(
      'PODGATE_ORCHESTRATOR: kubernetes requires KUBECONFIG, the path of a kubeconfig file, unless Podgate runs in a pod of the cluster.',
    );
  }
  if (kubeconfig.includes(':')) problems.push('KUBECONFIG: must be the path of a single file, without a colon.');
  const { storageClass, tolerations, ...section } = given.section ?? kubernetesSection.parse({});
  return {
    ...section,
    namespace: given.namespace ?? DEFAULT_NAMESPACE,
    kubeconfig: kubeconfig === '' ? null : resolve(cwd, kubeconfig),
    storageClass: storageClass ?? null,
    tolerations: tolerations.map(({ key, operator, value, effect, tolerationSeconds }) => ({
      ...(key === undefined ? {} : { key }),
      ...(operator === undefined ? {} : { operator }),
      ...(value === undefined ? {} : { value }),
      ...(effect === undefined ? {} : { effect }),
      ...(tolerationSeconds === undefined ? {} : { tolerationSeconds }),
    })),
  };
}
