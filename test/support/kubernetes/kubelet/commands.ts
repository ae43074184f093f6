import type { Kubelet, NodePod } from './kubelet.ts';

/** What a stand-in that is a program of its own can be told, a line of JSON each. */
export type Command =
  | { readonly kind: 'pods' }
  | { readonly kind: 'evict'; readonly namespace: string; readonly pod: string }
  | { readonly kind: 'outOfMemory'; readonly namespace: string; readonly pod: string }
  | { readonly kind: 'crash'; readonly namespace: string; readonly pod: string }
  | { readonly kind: 'refusePods'; readonly message: string | null }
  | { readonly kind: 'claimDirectory'; readonly uid: string };

export interface Question {
  readonly id: number;
  readonly command: Command;
}

export type Answer =
  /** Said once, before all others: the node is registered. */
  | { readonly id: 0; readonly network: number; readonly nodeName: string }
  | { readonly id: number; readonly result: readonly NodePod[] | string | null }
  | { readonly id: number; readonly error: string };

export async function obey(kubelet: Kubelet, command: Command): Promise<readonly NodePod[] | string | null> {
  switch (command.kind) {
    case 'pods':
      return kubelet.pods();
    case 'evict':
      await kubelet.evict(command.namespace, command.pod);
      return null;
    case 'outOfMemory':
      kubelet.outOfMemory(command.namespace, command.pod);
      return null;
    case 'crash':
      kubelet.crash(command.namespace, command.pod);
      return null;
    case 'refusePods':
      kubelet.refusePods(command.message);
      return null;
    case 'claimDirectory':
      return kubelet.claimDirectory(command.uid);
  }
}
