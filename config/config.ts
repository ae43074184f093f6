import type { OauthClient } from '../core/oauth-client.ts';
import type { EgressRules } from '../core/egress.ts';

/**
 * All settings, checked and with defaults filled in. Made once, by the supervisor, and handed to its children as JSON:
 * plain values only, and no secret among them (files that hold secrets are named, tenants' keys are public).
 */
export interface Config extends RoleSettings {
  /** Addresses the gateway binds. 127.0.0.1 brings ::1 with it. */
  readonly listenHosts: readonly string[];
  /** 0 = whatever is free; the supervisor then says which. */
  readonly httpsPort: number;
  readonly httpPort: number;
  /** What clients dial. 0 = the same as the gateway's. */
  readonly publicHttpsPort: number;
  readonly publicHttpPort: number;
  /** More ports with the same front as `httpsPort`, such as 5432 and 7687: protocols are recognized by their first bytes. */
  readonly listeners: readonly { readonly port: number }[];
  /** The API in plaintext, at `controlHost`. */
  readonly controlPort: number;
  /** 127.0.0.1, but where probes come from outside the pod that Podgate runs in: in a cluster. */
  readonly controlHost: string;
  /** Absolute. */
  readonly dataDir: string;
  readonly site: string;
  /** Absolute. The keyring that encrypts at rest; made when absent. */
  readonly secretKeyFile: string;
  /** Gateway processes; 0 = the gateway runs inside the control process. */
  readonly workers: number;
  readonly orchestrator: 'process' | 'kubernetes';
  /** Users other than administrators are let in although nothing separates the pods: they trust each other. */
  readonly allowsSharedUid: boolean;
  /** Of the orchestrator `kubernetes`; null with the other. */
  readonly kubernetes: KubernetesConfig | null;
  /** Of named volumes: the greatest size_limit. */
  readonly volumes: { readonly maxSizeMiB: number };
  /** Of the orchestrator `process`. A bound that is null: none. */
  readonly process: ProcessConfig;
  /** Where records, queue and logs are. The URL of Redis is no part of this: it may hold a password (see secrets.ts). */
  readonly store: 'sqlite' | 'redis';
  /** Absolute. What is downloaded for pods is kept there. */
  readonly cacheDir: string;
  /** NEO4J_HOME, where the Neo4j template looks first; null = on the PATH. */
  readonly neo4jHome: string | null;
  /** JAVA_HOME; null = on the PATH. */
  readonly javaHome: string | null;
  /** What pods get of the program's own environment: PATH, LANG and TZ. */
  readonly podEnvironment: { readonly path: string; readonly lang: string | null; readonly timeZone: string | null };
  /** The first is the default tenant: requests to no tenant's host are its. */
  readonly tenants: readonly [TenantConfig, ...TenantConfig[]];
  /** Images users may run, with or without a tag. */
  readonly images: readonly string[];
  /** The tenant whose administrators allow images for the others as well; null: none. */
  readonly siteAdminTenant: string | null;
  readonly pods: PodLimitsConfig;
  readonly quotas: QuotasConfig;
  readonly gateway: GatewayLimitsConfig;
  readonly proxyProtocol: ProxyProtocolConfig;
  readonly drain: DrainConfig;
  readonly supervision: SupervisionConfig;
  /** Addresses and CIDRs of proxies whose X-Forwarded-For is trusted; empty = none. */
  readonly trustedProxies: readonly string[];
  readonly accessLog: AccessLogConfig;
  readonly sessions: SessionsConfig;
  /** By which names the API returns statuses, unless a call says otherwise. */
  readonly statusNames: 'seed' | 'tapis';
  /** auto: the console is served at the base hosts and on the control port. */
  readonly console: 'auto' | 'off';
  /** Null: the API answers no cross-origin request. */
  readonly cors: CorsConfig | null;
  readonly api: ApiConfig;
  /** The operator's own certificates: absolute names of PEM files. */
  readonly certificates: readonly { readonly certificateFile: string; readonly keyFile: string }[];
  /** Null: no certificates are ordered. */
  readonly acme: AcmeConfig | null;
}

export type Role = 'gateway' | 'control' | 'spawner' | 'health';

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** Where gateways that run elsewhere connect, over TLS with certificates on both sides. All files are absolute. */
export interface GatewayListenerConfig {
  readonly address: HostAndPort;
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string;
  /** Host names, one of which a gateway's certificate must be for; null = any certificate of that CA. */
  readonly gateways: readonly string[] | null;
}

/** The control plane of a gateway that has none of its own. All files are absolute. */
export interface ControlPlaneConfig {
  readonly addresses: readonly HostAndPort[];
  /** The name in its certificate; null = the host that is dialed. */
  readonly serverName: string | null;
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** Which parts run here, and how gateways and control plane meet where they are apart. */
export interface RoleSettings {
  readonly roles: readonly Role[];
  readonly gatewayListener: GatewayListenerConfig | null;
  readonly controlPlane: ControlPlaneConfig | null;
}

/** Certificates by ACME (RFC 8555). The files are read where they are needed: one of them is a secret. */
export interface AcmeConfig {
  readonly directoryUrl: string;
  /** Addresses that the ACME server may write to. */
  readonly contacts: readonly string[];
  /** Ids of the tenants whose names get certificates. */
  readonly tenants: readonly string[];
  /** Names get certificates of their own. */
  readonly perHost: boolean;
  /** For those, in the order of preference. */
  readonly challenges: readonly ('http-01' | 'tls-alpn-01')[];
  /** Set: each of these tenants has one certificate for its base host and all its pods, by dns-01. */
  readonly dns: AcmeDnsConfig | null;
  readonly preferredChain: string | null;
  /** Absolute: of the CA of the ACME server itself; null = the system's. */
  readonly caFile: string | null;
  /** The key file (absolute) holds the key in base64url. */
  readonly externalAccount: { readonly keyId: string; readonly hmacKeyFile: string } | null;
  /** New certificates a week. */
  readonly budgetPerWeek: { readonly perDomain: number; readonly perTenant: number; readonly perUser: number };
}

/** How text records get into the DNS. Addresses are `address:port`, file names absolute. */
export interface AcmeDnsConfig {
  /** Empty = the system's. */
  readonly resolvers: readonly string[];
  /** Asked whether a text is there; empty = all that the zone names. */
  readonly nameServers: readonly string[];
  readonly propagationTimeoutMs: number;
  readonly writer:
    | {
        readonly kind: 'update';
        readonly server: { readonly host: string; readonly port: number };
        /** As BIND's tsig-keygen writes it. */
        readonly keyFile: string;
      }
    | {
        readonly kind: 'exec';
        readonly command: string;
        readonly arguments: readonly string[];
        readonly timeoutMs: number;
      }
    | {
        readonly kind: 'http';
        readonly url: string;
        readonly tokenFile: string;
        readonly caFile: string | null;
        readonly timeoutMs: number;
      };
}

export interface TenantConfig {
  readonly id: string;
  /** The API is at this host, pods are at `<pod>.pods.<base host>`. Lower-case. */
  readonly baseHost: string;
  /** The `iss` its tokens must have. */
  readonly issuer: string;
  /** Its public key as PEM or JWKS, or where it publishes that; null = this installation signs its tokens itself. */
  readonly key: string | JwksConfig | JwksSourceConfig | null;
  readonly administrators: readonly string[];
  /** Services that may act on behalf of this tenant's users, each with the tenant whose key signs its tokens. */
  readonly services: readonly { readonly name: string; readonly tenant: string }[];
  /** How its users log in; null: with a token. */
  readonly oauth: OauthClient | null;
}

export interface JwksConfig {
  readonly keys: readonly Readonly<Record<string, unknown>>[];
}

/** A file (absolute path) or a URL, read again while Podgate runs. */
export type JwksSourceConfig = { readonly file: string } | { readonly url: string };

export interface BoundsConfig {
  readonly minimum: number;
  readonly maximum: number;
}

/** What users may ask for. */
export interface PodLimitsConfig {
  /** Millicpu. */
  readonly cpu: BoundsConfig;
  /** MiB. */
  readonly memory: BoundsConfig;
  readonly gpusMaximum: number;
  readonly defaultResources: {
    readonly cpuRequest: number;
    readonly cpuLimit: number;
    readonly memRequest: number;
    readonly memLimit: number;
    readonly gpus: number;
  };
  readonly minTimeToStopSeconds: number;
}

/** The most that the pods of one user, and of one tenant, may use together; null = no quota. */
export interface QuotasConfig {
  readonly perUser: QuotaLimitsConfig;
  readonly perTenant: QuotaLimitsConfig;
}

export interface QuotaLimitsConfig {
  readonly pods: number | null;
  /** Millicpu, of the limits of pods that are to run. */
  readonly cpu: number | null;
  /** MiB, likewise. */
  readonly memory: number | null;
  /** With those that were kept of deleted pods. */
  readonly volumes: number | null;
  /** What named volumes and snapshots may hold. */
  readonly volumeMiB: number | null;
  /** Of what is stored about pods. */
  readonly recordBytes: number | null;
  /** Connections of clients to pods, at the same time. */
  readonly connections: number | null;
}

/** Pods that are processes of this machine: their bounds, and what is installed for them. The names are those of `kubernetes` where there is one. */
export interface ProcessConfig {
  readonly volumeSizeMiB: number | null;
  /** Of a pod's home. */
  readonly ephemeralStorage: { readonly limitMiB: number | null };
  /** Files and directories of home and volume. */
  readonly files: number | null;
  /** What pods reach beside the gateway; null = nothing. Only for pods with a network namespace of their own. */
  readonly egress: EgressConfig | null;
  /** `auto`: a program that a template needs and this machine lacks is downloaded for the first pod of that template. */
  readonly install: 'auto' | 'never';
  /** Where from; null = what Maven on this machine uses (see maven-repository.ts). */
  readonly mavenRepository: string | null;
}

export interface EgressConfig extends EgressRules {
  /** Address and port. Empty = those of the system. */
  readonly nameServers: readonly string[];
}

/** How pods are made in a cluster. */
export interface KubernetesConfig {
  /** For pods alone. */
  readonly namespace: string;
  /** Absolute; null = the account of the pod that Podgate itself runs in. */
  readonly kubeconfig: string | null;
  /** Null = the cluster's default. */
  readonly storageClass: string | null;
  readonly volumeSizeMiB: number;
  /** Of a container's layer and log on its node's disk. */
  readonly ephemeralStorage: { readonly requestMiB: number; readonly limitMiB: number };
  readonly volumeAccessMode: 'ReadWriteOnce' | 'ReadWriteOncePod';
  /** Of volumes that users share; null = storageClass. */
  readonly namedVolumes: {
    readonly storageClass: string | null;
    readonly accessMode: 'ReadWriteOnce' | 'ReadWriteMany';
  };
  /** Of images that users choose. */
  readonly podSecurity: 'restricted' | 'baseline';
  /** By template: the image to take instead of the template's own. */
  readonly templateImages: Readonly<Record<string, string>>;
  readonly imagePullSecrets: readonly string[];
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly TolerationConfig[];
  /** Who may connect to pods. */
  readonly gateway: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
  /** CIDRs beside the private ranges that pods may not reach. */
  readonly egressExcept: readonly string[];
  /** Addresses (CIDR) of name servers of the cluster, beside those that every policy allows. */
  readonly nameServers: readonly string[];
}

export interface TolerationConfig {
  readonly key?: string;
  readonly operator?: 'Exists' | 'Equal';
  readonly value?: string;
  readonly effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
  /** Of NoExecute: how long it is tolerated; absent = for ever. */
  readonly tolerationSeconds?: number;
}

/** After how long without a sign of life a child process is killed and replaced; 0 = never. */
export interface SupervisionConfig {
  readonly workerHungAfterMs: number;
  readonly controlHungAfterMs: number;
}

/** How it ends at SIGTERM. */
export interface DrainConfig {
  /** How long new connections are still taken once `/readyz` fails: load balancers need some time to notice. */
  readonly readinessDelayMs: number;
  /** How long running sessions may go on after that. */
  readonly sessionsMs: number;
  /** How long they may go on in a worker that a new one has replaced. */
  readonly replacedMs: number;
}

/** Where each request and session leaves a line. */
export interface AccessLogConfig {
  readonly to: 'file' | 'stdout' | 'off';
  /** Absolute. */
  readonly file: string;
  /** A greater file is moved away; `keepFiles` of them stay. */
  readonly maxFileBytes: number;
  readonly keepFiles: number;
}

/** What calls of the control API may hold at a time in this replica, and who may use the control port. */
export interface ApiConfig {
  readonly calls: {
    readonly calls: number;
    readonly callsPerTenant: number;
    readonly callsPerUser: number;
    readonly callsPerAddress: number;
    /** Bodies being received and responses being sent. */
    readonly bytes: number;
    readonly bytesPerTenant: number;
    readonly bytesPerUser: number;
  };
  /** Clients that take nothing of their response for `graceMs`, or less than the minimum on average, are disconnected. */
  readonly slowReaders: { readonly graceMs: number; readonly minimumBytesPerSecond: number };
  /** 401s that an address gets; further ones are 429. */
  readonly failedLoginsPerMinute: number;
  /** Host names of the control port beside those of loopback, its own addresses and the base hosts. */
  readonly controlHosts: readonly string[];
  /** Absolute path of the token with which clients other than loopback read /metrics; null = loopback only. */
  readonly metricsTokenFile: string | null;
}

/** Which web pages of other origins may use the API. */
export interface CorsConfig {
  /** `https://host[:port]`, or `*` alone: any page. */
  readonly origins: readonly string[];
  /** Whether browsers may send cookies along; never with `*`. */
  readonly credentials: boolean;
  readonly maxAgeSeconds: number;
}

/** What becomes of sessions that run when their route changes. */
export interface SessionsConfig {
  /** The pod was stopped or deleted. */
  readonly onRouteGone: 'drain' | 'cut';
  /** The pod lets this client in no more. */
  readonly onClientRefused: 'drain' | 'cut';
  /** How long a session may go on that is not cut at once. */
  readonly drainMs: number;
}

/** Whose PROXY headers are believed. */
export interface ProxyProtocolConfig {
  /** Addresses and CIDRs; empty = none. */
  readonly from: readonly string[];
  readonly policy: 'ignore' | 'use' | 'require';
}

/** Undefined = the gateway's own default. */
export interface GatewayLimitsConfig {
  readonly connections?: number | undefined;
  readonly connectionsPerAddress?: number | undefined;
  readonly connectionsPerPod?: number | undefined;
  /** Default: half of `connectionsPerPod`. */
  readonly connectionsPerAddressAtPod?: number | undefined;
  readonly handshakeTimeoutMs?: number | undefined;
  readonly sessionIdleMs?: number | undefined;
  readonly halfClosedMs?: number | undefined;
  readonly stalledClientMs?: number | undefined;
  readonly minClientBytesPerSecond?: number | undefined;
  /** With the route feed away for longer, new connections get "does not answer". */
  readonly staleAfterMs?: number | undefined;
}
