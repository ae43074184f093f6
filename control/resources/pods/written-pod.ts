import type { Resources, StanzaProtocol, Wish } from '../../../core/pod.ts';

/** A stanza as a user wrote it; what is not there gets its default. */
export interface WrittenStanza {
  readonly protocol?: StanzaProtocol;
  readonly port?: number;
  readonly ipAllowList?: readonly string[];
  readonly tls?: 'terminate' | 'passthrough' | 'reencrypt';
  readonly backendProtocol?: 'http1' | 'h2c';
  readonly sendProxyProtocol?: 'none' | 'v1' | 'v2';
  /** Empty: none. */
  readonly clientCa?: string;
  readonly uiUri?: string;
  readonly uiUriRedirect?: boolean;
  readonly uiUriDescription?: string;
}

/** A volume mount as a user wrote it, in either shape; what is not there gets its default. */
export interface WrittenVolumeMount {
  readonly type: string;
  /** With the volume's name as the key. */
  readonly mountPath?: string;
  /** With the path as the key. */
  readonly sourceId?: string;
  readonly subPath?: string;
  readonly readOnly?: boolean;
}

/** The fields of a create or an update as the user wrote them: a field that is not there was not written. */
export interface PodFields {
  readonly podId?: string;
  /** The seed's name for the template or the image. */
  readonly podTemplate?: string;
  /** The newer names. An empty text counts as not written, as there. */
  readonly template?: string;
  readonly image?: string;
  readonly description?: string;
  readonly command?: readonly string[] | null;
  readonly arguments?: readonly string[] | null;
  readonly environmentVariables?: Readonly<Record<string, string>>;
  readonly dataRequests?: readonly string[];
  readonly rolesRequired?: readonly string[];
  readonly statusRequested?: Wish;
  readonly timeToStopDefault?: number;
  readonly timeToStopInstance?: number | null;
  readonly networking?: Readonly<Record<string, WrittenStanza>>;
  readonly routingPort?: number;
  readonly persistentVolume?: boolean;
  /** By name of the volume, or - keys that start with "/" - by path. */
  readonly volumeMounts?: Readonly<Record<string, WrittenVolumeMount>>;
  readonly resources?: Partial<Resources>;
}

/**
 * What came of checking the shape of a body: the fields that are as they must be, and a sentence about each that is
 * not. The rules that look at several fields add theirs, so that a user hears of everything at once.
 */
export interface WrittenPod {
  readonly fields: PodFields;
  readonly problems: readonly string[];
  /** Names (as on the wire) of the fields that have a problem: rules say no more about them. */
  readonly refused: ReadonlySet<string>;
}
