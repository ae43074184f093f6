import type { LimitedResource } from './cgroups.ts';
import type { Walls } from './room.ts';

/** What keeps process pods apart on this machine. */
export interface Protection {
  /** How a pod's port is kept from others. */
  readonly network: 'network-namespace' | 'owner-checked';
  /** How the files of Podgate and of other pods are kept from a pod. */
  readonly files: 'user' | 'mount-namespace' | 'none';
  /** The limits of `resources` that are enforced. */
  readonly limits: readonly LimitedResource[];
}

const LIMITS: Readonly<Record<LimitedResource, string>> = { memory: 'memory', cpu: 'CPU', processes: 'processes' };

export function protectionOf(walls: Walls, asRoot: boolean, limits: readonly LimitedResource[]): Protection {
  return {
    network: walls.hasNamespaces ? 'network-namespace' : 'owner-checked',
    files: asRoot ? 'user' : walls.hasUserNamespaces ? 'mount-namespace' : 'none',
    limits,
  };
}

/** One line for the operator. */
export function protectionText(protection: Protection): string {
  const { network, files } = protection;
  const unlimited = unlimitedText(protection);
  if (files === 'none') {
    return `Pods are not isolated on this machine: each can read Podgate's keys and the other pods' files. Create only pods that you trust, or run Podgate as root. ${unlimited}`.trim();
  }
  const who =
    files === 'user'
      ? 'each with its own user ID'
      : 'with your rights, except that they cannot see the files of Podgate and of other pods';
  const where =
    network === 'network-namespace'
      ? 'each with its own network that reaches only the gateway'
      : files === 'user'
        ? 'on the network of this machine; the owner of a port is checked on each dial'
        : 'on the network of this machine, where they can reach each other: only administrators are admitted';
  return `Pods run as processes on this machine, ${who}, ${where}. ${unlimited}`.trim();
}

/** Which limits are not enforced, as a sentence; '' when all are. */
export function unlimitedText({ limits }: Pick<Protection, 'limits'>): string {
  const missing = (Object.keys(LIMITS) as LimitedResource[]).filter((limit) => !limits.includes(limit));
  return missing.length === 0
    ? ''
    : `Limits that are not enforced on this machine: ${missing.map((each) => LIMITS[each]).join(', ')}.`;
}

/**
 * Does this machine keep process pods apart, from each other and from Podgate's own files? Under one user that takes
 * network namespaces too: to the owner check at each dial, all pods of that user are the same.
 */
export function arePodsSeparated({ network, files }: Protection): boolean {
  return files === 'user' || (files === 'mount-namespace' && network === 'network-namespace');
}
