import type { KubeClient } from '../support/kubernetes/kube-client.ts';

/** By "VERB resource/subresource": how many requests the API server has answered. */
export type ApiCalls = ReadonlyMap<string, number>;

/** What the stand-in for scheduler, kubelet and controllers asks for, and Podgate's account may not. */
const OF_THE_STAND_IN = /\/(status|binding|token)$|^(PATCH|PUT) |nodes|leases|events|namespaces|serviceaccounts/;
/** The API server's own, and those of whoever measures. */
const OF_NOBODY =
  /^\S+ (?:$|apiservices|flowschemas|prioritylevel|subjectaccess|tokenreviews|endpoints|ipaddresses|servicecidrs|configmaps)/;

/** From the API server's own counters (apiserver_request_total). */
export async function apiServerCalls(client: KubeClient): Promise<ApiCalls> {
  const calls = new Map<string, number>();
  const text = await client.get<string>('/metrics');
  for (const line of text.split('\n')) {
    const sample = /^apiserver_request_total\{(.*)\} (\S+)$/.exec(line);
    if (sample === null) continue;
    const labels = new Map([...(sample[1] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map((match) => [match[1], match[2]]));
    const subresource = labels.get('subresource') ?? '';
    const resource = `${labels.get('resource') ?? ''}${subresource === '' ? '' : `/${subresource}`}`;
    const key = `${labels.get('verb') ?? ''} ${resource}`;
    calls.set(key, (calls.get(key) ?? 0) + Number(sample[2]));
  }
  return calls;
}

export interface CallCount {
  readonly all: number;
  readonly byPodgate: number;
  /** The most frequent, for people. */
  readonly table: string;
}

export function callsSince(before: ApiCalls, after: ApiCalls): CallCount {
  const differences = [...after]
    .map(([key, count]) => [key, count - (before.get(key) ?? 0)] as const)
    .filter(([key, count]) => count > 0 && !OF_NOBODY.test(key))
    .toSorted((a, b) => b[1] - a[1]);
  const sum = (entries: typeof differences): number => entries.reduce((total, [, count]) => total + count, 0);
  return {
    all: sum(differences),
    byPodgate: sum(differences.filter(([key]) => !OF_THE_STAND_IN.test(key))),
    table: differences
      .slice(0, 14)
      .map(([key, count]) => `${key} ${count}`)
      .join(', '),
  };
}
