import { connect } from 'node:net';
import { isKubeError, type KubeClient } from '../../support/kubernetes/index.ts';
import { until } from '../../support/until.ts';

/** What the tests of the environment read of a pod. */
export interface PodObject {
  readonly metadata: { readonly uid: string; readonly deletionTimestamp?: string };
  readonly status: {
    readonly phase: string;
    readonly reason?: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

export interface ContainerStatus {
  readonly restartCount: number;
  readonly ready: boolean;
  readonly state: {
    readonly waiting?: { readonly reason: string; readonly message?: string };
    readonly running?: object;
    readonly terminated?: { readonly reason: string; readonly exitCode: number };
  };
  readonly lastState: { readonly terminated?: { readonly reason: string; readonly exitCode: number } };
}

export const SERVES = { image: 'podgate.test/serves', ports: [{ containerPort: 8080 }] };

/** The calls about pods of one namespace, as an administrator makes them. */
export interface PodCalls {
  path(name: string): string;
  get(name: string): Promise<PodObject>;
  /** One container, named main. */
  create(name: string, container: object, spec?: object): Promise<PodObject>;
  becomes(
    name: string,
    what: string,
    isWanted: (pod: PodObject, container?: ContainerStatus) => boolean,
    timeoutMs?: number,
  ): Promise<PodObject>;
  becomesReady(name: string, timeoutMs?: number): Promise<PodObject>;
  isGone(name: string): Promise<unknown>;
  /** Deletes it and waits until it is gone. */
  remove(name: string, query?: string): Promise<void>;
}

export function podCalls(client: KubeClient, namespace: string): PodCalls {
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  const path = (name: string) => `${pods}/${name}`;
  const get = (name: string) => client.get<PodObject>(path(name));
  const becomes: PodCalls['becomes'] = (name, what, isWanted, timeoutMs = 20_000) =>
    until(
      `${name} ${what}`,
      async () => {
        const pod = await get(name);
        return isWanted(pod, pod.status.containerStatuses?.[0]) ? pod : null;
      },
      { timeoutMs },
    );
  const isGone = (name: string) =>
    until(`${name} is gone`, () =>
      get(name).then(
        () => false,
        (error: unknown) => isKubeError(error, 'NotFound'),
      ),
    );
  return {
    path,
    get,
    becomes,
    isGone,
    becomesReady: (name, timeoutMs) =>
      becomes(name, 'is ready', (_pod, container) => container?.ready === true, timeoutMs),
    create: (name, container, spec = {}) =>
      client.call<PodObject>('POST', pods, {
        body: {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name, labels: { app: name, 'podgate.test/uid': `uid-of-${name}` } },
          spec: { containers: [{ name: 'main', ...container }], ...spec },
        },
      }),
    async remove(name, query = '') {
      await client.call('DELETE', `${path(name)}${query}`);
      await isGone(name);
    },
  };
}

/** Sends a text, then reads to the end. */
export function talk(host: string, port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect({ host, port }, () => socket.end(text));
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
    socket.on('end', () => resolve(answer)).on('error', reject);
  });
}
