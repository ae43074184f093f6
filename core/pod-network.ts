import type { WorkloadRef } from './workload-ref.ts';

export interface NetworkAddress {
  readonly address: string;
  readonly port: number;
}

/**
 * A network namespace of this machine (network_namespaces(7)). The inode distinguishes it from another one that is found
 * at the same path later.
 */
export interface NetworkNamespace {
  readonly path: string;
  readonly inode: number;
}

/** The network namespace of one pod. */
export interface PodNetwork extends NetworkNamespace, WorkloadRef {
  /** Absent for a workload of an earlier release. */
  readonly createdBy?: string;
}

/** The network namespaces that pods of this machine have now. */
export interface PodNetworks {
  all(): readonly PodNetwork[];
  /** Calls `changed` after every change, until the answer is called. */
  follow(changed: () => void): () => void;
}

/** How a connection to an address reaches one workload and no other. */
export interface DialGuard {
  /** The address is one of this network namespace. Absent: of the network of this process. */
  readonly namespace?: NetworkNamespace;
  /** The user who must own the socket that accepted, checked before the first byte is sent. Absent: not checked. */
  readonly ownerUid?: number;
}

/** Where a stanza's bytes go. */
export interface StanzaAddress extends NetworkAddress, DialGuard {
  /**
   * An address that leads to this workload alone wherever it has moved: dialled while what is known of `address` is
   * old, since another pod may have that by now. Null where there is none.
   */
  readonly service: NetworkAddress | null;
}
