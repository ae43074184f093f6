/** What every answer of a test pod says about whom it comes from. */
export interface Identity {
  /** Podgate's own uid of the pod, as its workload bears it. */
  readonly uid: string;
  /** Name of the workload. */
  readonly name: string;
}

/** Where a client goes, and who may answer there. */
export interface Destination {
  readonly host: string;
  /** Null, or why this answer must not come from there. */
  problem(identity: Identity): string | null;
}

export interface Gateway {
  readonly port: number;
  readonly ca: string;
}

/** Something that happened to a client and should not, or only by a fault that excuses it. */
export interface Mishap {
  readonly atMs: number;
  readonly host: string;
  /** Of the client's socket; 0 when it got none. */
  readonly clientPort: number;
  readonly why: string;
}

/** What the clients of a crowd have seen together. */
export class Witness {
  exchanges = 0;
  sessions = 0;
  /** A session that had exchanged something and ended, not by us. */
  readonly cuts: Mishap[] = [];
  /** Connections and requests that came to nothing before any byte of a pod. */
  readonly refused: Mishap[] = [];
  /** Bytes that are not those of the pod that was meant. Never excused. */
  readonly wrong: Mishap[] = [];
}

/** A client that comes back when its session has ended, until it is closed. */
export interface Client {
  readonly exchanges: number;
  close(): void;
}

export function identityOf(text: string): Identity | null {
  try {
    const value = JSON.parse(text) as Partial<Identity> | null;
    return typeof value?.uid === 'string' && typeof value.name === 'string'
      ? { uid: value.uid, name: value.name }
      : null;
  } catch {
    return null;
  }
}
