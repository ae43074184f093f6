import { createHash } from 'node:crypto';
import type { V1EnvVar, V1Probe } from '@kubernetes/client-node';
import type { WorkloadSpec } from '../../../../core/workloads.ts';

/** How an image is run: what its Pod needs beyond what all have. */
export interface Recipe {
  readonly image: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
  /** User and group of the image; null = whatever the image says. */
  readonly user: number | null;
  readonly hasReadOnlyRoot: boolean;
  /** Directories that it must be able to write, and that nobody needs afterwards. */
  readonly scratch: readonly string[];
  /** Where its data lives, or null. */
  readonly dataPath: string | null;
  /** What the image reads beside the user's variables, and over them. */
  readonly environment: readonly V1EnvVar[];
  /** By key, for its Secret; null = it has none. */
  readonly secret: Readonly<Record<string, string>> | null;
  /** Asks the program itself; null = it has nothing to be asked. */
  readonly probe: V1Probe | null;
  /** In its place until it succeeds for the first time: what is too dear, or too much, to ask every few seconds. */
  readonly startProbe?: V1Probe;
  /** Until it answers for the first time; then the kubelet starts it anew. */
  readonly startSeconds: number;
  readonly graceSeconds: number;
  /** Programs of users may end well; a server that ends has failed. */
  readonly mayComplete: boolean;
  /** Meets the restricted Pod Security level. */
  readonly isRestricted: boolean;
}

export type RecipeResult =
  { readonly kind: 'recipe'; readonly recipe: Recipe } | { readonly kind: 'refused'; readonly reason: string };

/** What recipes get: the workload and the name of the Secret that will hold `secret`. */
export interface RecipeContext {
  readonly workload: WorkloadSpec;
  readonly image: string;
  readonly secretName: string;
}

/** Name of the variable that holds the pod's own address. */
export const POD_ADDRESS = 'PODGATE_POD_ADDRESS';

/** A shell command within the container; $PODGATE_POD_ADDRESS is the pod's address, which is what others dial. */
export function execProbe(shell: string, command: string): V1Probe {
  return { exec: { command: [shell, '-c', command] }, timeoutSeconds: 5 };
}

/** Names of keys have at most 253 characters; those of variables may be longer. */
const KEY_NAME_MAX_LENGTH = 200;

/** Key of a variable in the pod's Secret; keys of recipes contain no dot. */
export function environmentKey(name: string): string {
  if (name.length <= KEY_NAME_MAX_LENGTH) return `env.${name}`;
  return `env-hash.${createHash('sha256').update(name).digest('hex')}`;
}

export function fromSecret(name: string, secretName: string, key: string): V1EnvVar {
  return { name, valueFrom: { secretKeyRef: { name: secretName, key } } };
}
