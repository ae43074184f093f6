import { isKubeError, type KubeClient } from '../kube-client.ts';
import type { Container, EnvironmentVariable, KeyReference, KeyToPath, Pod, VolumeSource } from './objects.ts';

/** What the pod names is not there (yet): the kubelet's CreateContainerConfigError. */
export class MissingReference extends Error {}

/** Secrets and config maps by name, each asked for once; for one start of one container. */
export interface References {
  value(kind: 'secrets' | 'configmaps', reference: KeyReference): Promise<string | null>;
  all(kind: 'secrets' | 'configmaps', name: string, optional: boolean): Promise<Readonly<Record<string, Buffer>>>;
}

interface DataObject {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

export function createReferences(client: KubeClient, namespace: string): References {
  const asked = new Map<string, Promise<DataObject | null>>();
  const get = (kind: string, name: string): Promise<DataObject | null> => {
    const path = `/api/v1/namespaces/${namespace}/${kind}/${name}`;
    const answer =
      asked.get(path) ??
      client.get<DataObject>(path).catch((error: unknown) => {
        if (isKubeError(error, 'NotFound')) return null;
        throw error;
      });
    asked.set(path, answer);
    return answer;
  };
  const all: References['all'] = async (kind, name, optional) => {
    const object = await get(kind, name);
    if (object === null) {
      if (optional) return {};
      throw new MissingReference(`${kind === 'secrets' ? 'secret' : 'configmap'} "${name}" not found`);
    }
    const data = Object.entries(object.data ?? {});
    const binary = Object.entries(object.binaryData ?? {});
    return Object.fromEntries([
      ...data.map(([key, text]) => [key, Buffer.from(text, kind === 'secrets' ? 'base64' : 'utf8')] as const),
      ...binary.map(([key, text]) => [key, Buffer.from(text, 'base64')] as const),
    ]);
  };
  return {
    all,
    async value(kind, { name, key, optional = false }) {
      const value = (await all(kind, name, optional))[key];
      if (value !== undefined) return value.toString('utf8');
      if (optional) return null;
      throw new MissingReference(`couldn't find key ${key} in ${kind === 'secrets' ? 'Secret' : 'ConfigMap'} ${name}`);
    },
  };
}

/** The environment of a container, in the order that the kubelet makes it. */
export async function environmentOf(
  container: Container,
  { pod, address, nodeName }: { readonly pod: Pod; readonly address: string; readonly nodeName: string },
  references: References,
): Promise<Record<string, string>> {
  const environment: Record<string, string> = { HOSTNAME: pod.metadata.name };
  for (const { prefix = '', secretRef, configMapRef } of container.envFrom ?? []) {
    const [kind, reference] =
      secretRef === undefined ? (['configmaps', configMapRef] as const) : (['secrets', secretRef] as const);
    if (reference === undefined) continue;
    const values = await references.all(kind, reference.name, reference.optional ?? false);
    for (const [key, value] of Object.entries(values)) environment[prefix + key] = value.toString('utf8');
  }
  for (const variable of container.env ?? []) {
    const value = await valueOf(variable, { pod, address, nodeName, environment }, references);
    if (value !== null) environment[variable.name] = value;
  }
  return environment;
}

async function valueOf(
  { value, valueFrom }: EnvironmentVariable,
  known: { pod: Pod; address: string; nodeName: string; environment: Readonly<Record<string, string>> },
  references: References,
): Promise<string | null> {
  if (valueFrom === undefined) return expand(value ?? '', known.environment);
  if (valueFrom.secretKeyRef !== undefined) return references.value('secrets', valueFrom.secretKeyRef);
  if (valueFrom.configMapKeyRef !== undefined) return references.value('configmaps', valueFrom.configMapKeyRef);
  return fieldOf(valueFrom.fieldRef?.fieldPath ?? '', known);
}

/** `$(NAME)` is another variable's value, `$$` a dollar; what is not known stays as it is. */
export function expand(text: string, environment: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([^)]+)\)/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : (environment[name] ?? whole),
  );
}

function fieldOf(path: string, { pod, address, nodeName }: { pod: Pod; address: string; nodeName: string }): string {
  const { metadata, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed !== null) return metadata[keyed[1] as 'labels' | 'annotations']?.[keyed[2] ?? ''] ?? '';
  const fields: Readonly<Record<string, string>> = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'metadata.uid': metadata.uid,
    'spec.nodeName': nodeName,
    'spec.serviceAccountName': spec.serviceAccountName ?? 'default',
    'status.podIP': address,
    'status.podIPs': address,
    'status.hostIP': address,
  };
  return fields[path] ?? '';
}

/** The files of a secret or config map volume, by relative path. */
export async function filesOf(source: VolumeSource, references: References): Promise<ReadonlyMap<string, Buffer>> {
  const { secret, configMap } = source;
  const values =
    secret === undefined
      ? configMap === undefined
        ? {}
        : await references.all('configmaps', configMap.name, configMap.optional ?? false)
      : await references.all('secrets', secret.secretName, secret.optional ?? false);
  const items: readonly KeyToPath[] =
    (secret ?? configMap)?.items ?? Object.keys(values).map((key) => ({ key, path: key }));
  const files = new Map<string, Buffer>();
  for (const { key, path } of items) {
    const value = values[key];
    if (value === undefined) throw new MissingReference(`references non-existent key: ${key}`);
    files.set(path, value);
  }
  return files;
}
