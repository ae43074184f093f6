/** How texts get into the DNS, and how it is looked at whether they are there. */
export interface DnsSettings {
  /** `address:port` of those that resolve names; empty = the system's. */
  readonly resolvers: readonly string[];
  /** `address:port` of those that are asked for the text; empty = all that the zone names. */
  readonly nameServers: readonly string[];
  readonly propagationTimeoutMs: number;
  readonly writer:
    | {
        readonly kind: 'update';
        readonly server: { readonly host: string; readonly port: number };
        readonly key: TsigKey;
      }
    | {
        readonly kind: 'exec';
        readonly command: string;
        readonly arguments: readonly string[];
        /** PATH of the program. */
        readonly path: string;
        readonly timeoutMs: number;
      }
    | {
        readonly kind: 'http';
        readonly url: string;
        readonly token: string;
        /** PEM; null = the system's. */
        readonly ca: string | null;
        readonly timeoutMs: number;
      };
}

/** A key of RFC 8945. */
export interface TsigKey {
  readonly name: string;
  readonly algorithm: TsigAlgorithm;
  readonly secret: Buffer;
}

export const TSIG_ALGORITHMS = ['hmac-sha256', 'hmac-sha384', 'hmac-sha512'] as const;
export type TsigAlgorithm = (typeof TSIG_ALGORITHMS)[number];

/** Puts one text at one name, beside whatever is there, and takes that one away again. Doing it twice changes nothing. */
export interface TextWriter {
  add(name: string, text: string, signal: AbortSignal): Promise<void>;
  remove(name: string, text: string, signal: AbortSignal): Promise<void>;
}
