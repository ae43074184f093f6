import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { errorCode } from '../core/error-code.ts';
import { PodgateError } from '../core/errors.ts';
import { acmeConfigOf } from './acme-section.ts';
import { apiConfigOf } from './api-section.ts';
import { corsConfigOf } from './cors-section.ts';
import type { AccessLogConfig, Config, PodLimitsConfig, TenantConfig } from './config.ts';
import { cacheDirOf } from './cache-dir.ts';
import { type ConfigFile, readConfigFile } from './config-file.ts';
import { dataDirectoryOf } from './data-directory.ts';
import { type Environment, readEnvironment } from './environment.ts';
import { kubernetesConfigOf } from './kubernetes-section.ts';
import { isLoopback } from './loopback.ts';
import { processSection } from './process-section.ts';
import { isInside } from './names.ts';
import { caProblem, checkFile } from './named-file.ts';
import { ALL_ROLES, roleSettings } from './roles.ts';
import { quotasConfigOf } from './quotas-section.ts';

const DEFAULT_TENANT = 'dev';
const DEFAULT_BASE_HOST = 'localhost';

/**
 * Reads the environment and the YAML file it may name; relative paths are seen from `cwd`. Throws PodgateError
 * 'config.invalid' whose public messages are all mistakes at once, each with its key and what to do. No message holds a
 * value that may be secret.
 */
export function loadConfig(env: NodeJS.ProcessEnv, cwd: string): Config {
  const problems: string[] = [];
  const environment = readEnvironment(env, problems);
  const file = readNamedFile(environment?.PODGATE_CONFIG ?? env['PODGATE_CONFIG'], cwd, problems);
  const config = environment === null || file === null ? null : combine(environment, file, env, cwd, problems);
  if (config === null || problems.length > 0) throw new PodgateError('config.invalid', { publicMessages: problems });
  return config;
}

function readNamedFile(name: string | undefined, cwd: string, problems: string[]): ConfigFile | null {
  if (name === undefined || name === '') return readConfigFile('', problems);
  let text: string;
  try {
    text = readFileSync(resolve(cwd, name), 'utf8');
  } catch (error) {
    const code = errorCode(error) ?? 'unknown error';
    problems.push(`PODGATE_CONFIG: the file cannot be read (${code}); set it to a YAML file, or unset it.`);
    return null;
  }
  return readConfigFile(text, problems);
}

function combine(
  environment: Environment,
  file: ConfigFile,
  env: NodeJS.ProcessEnv,
  cwd: string,
  problems: string[],
): Config {
  const httpsPort = environment.PODGATE_HTTPS_PORT ?? 8443;
  const httpPort = environment.PODGATE_HTTP_PORT ?? 8080;
  const controlPort = environment.PODGATE_CONTROL_PORT ?? 8000;
  portProblems({ httpsPort, httpPort, controlPort }, problems);
  listenerProblems(file.listeners, [httpsPort, httpPort, controlPort], problems);
  const store = environment.PODGATE_REDIS_URL === undefined ? 'sqlite' : 'redis';
  redisCaProblems(environment, cwd, problems);
  const { gatewayListener, controlPlane } = file;
  const roles = environment.PODGATE_ROLES ?? ALL_ROLES;
  const apart = roleSettings({ roles, store, gatewayListener, controlPlane, cwd }, problems);
  const hasPods = apart.controlPlane === null;
  if (hasPods) hostProblems(environment, problems);
  const dataDir = dataDirectoryOf(environment, cwd);
  const host = environment.PODGATE_HOST;
  const tenants = tenantsOf(environment, file, cwd, problems);
  const kubernetes = kubernetesConfigOf(
    {
      orchestrator: environment.PODGATE_ORCHESTRATOR,
      namespace: environment.PODGATE_NAMESPACE,
      section: file.kubernetes,
    },
    env,
    cwd,
    problems,
  );
  if (kubernetes !== null && file.process !== undefined) {
    problems.push('PODGATE_CONFIG process: requires PODGATE_ORCHESTRATOR=process; set that, or remove this.');
  }
  return {
    ...apart,
    listenHosts: host === '127.0.0.1' ? [host, '::1'] : [host],
    httpsPort,
    httpPort,
    publicHttpsPort: environment.PODGATE_PUBLIC_HTTPS_PORT ?? httpsPort,
    publicHttpPort: environment.PODGATE_PUBLIC_HTTP_PORT ?? httpPort,
    listeners: file.listeners,
    controlPort,
    controlHost: controlHostOf(environment.PODGATE_ORCHESTRATOR, host, hasPods),
    dataDir,
    site: environment.PODGATE_SITE,
    secretKeyFile: resolve(cwd, environment.PODGATE_SECRET_KEY_FILE ?? resolve(dataDir, 'secret.key')),
    workers: environment.PODGATE_WORKERS ?? availableParallelism(),
    orchestrator: environment.PODGATE_ORCHESTRATOR,
    allowsSharedUid: environment.PODGATE_ALLOW_SHARED_UID === 'yes',
    kubernetes,
    volumes: file.volumes,
    process: file.process ?? processSection.parse({}),
    store,
    cacheDir: cacheDirOf(env, process.getuid?.() === 0),
    neo4jHome: directoryOf(env['NEO4J_HOME'], cwd),
    javaHome: directoryOf(env['JAVA_HOME'], cwd),
    podEnvironment: {
      path: env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
      lang: env['LANG'] ?? null,
      timeZone: env['TZ'] ?? null,
    },
    tenants,
    images: file.images,
    siteAdminTenant: siteAdminTenantOf(file.siteAdminTenant, tenants, problems),
    pods: podLimitsOf(file, problems),
    quotas: quotasConfigOf(file.quotas),
    gateway: file.limits,
    proxyProtocol: file.proxyProtocol,
    drain: file.drain,
    supervision: file.supervision,
    trustedProxies: file.trustedProxies,
    accessLog: accessLogOf(file.accessLog, environment.PODGATE_ORCHESTRATOR, dataDir, cwd),
    sessions: file.sessions,
    statusNames: file.status_names,
    console: file.console,
    cors: corsConfigOf(file.cors, problems),
    api: apiConfigOf(
      {
        section: file.api,
        gatewayNamespace: kubernetes?.gateway.namespace ?? null,
        cwd,
      },
      problems,
    ),
    certificates: file.certificates.map(({ certificateFile, keyFile }) => ({
      certificateFile: resolve(cwd, certificateFile),
      keyFile: resolve(cwd, keyFile),
    })),
    acme: acmeConfigOf({ section: file.acme, tenants: tenants.map(({ id }) => id), cwd }, problems),
  };
}

/** In a container whatever is printed is collected; a developer's terminal is for other things. */
function accessLogOf(
  { to, file, maxFileMiB, keepFiles }: ConfigFile['accessLog'],
  orchestrator: Config['orchestrator'],
  dataDir: string,
  cwd: string,
): AccessLogConfig {
  return {
    to: to ?? (orchestrator === 'kubernetes' && file === undefined ? 'stdout' : 'file'),
    file: file === undefined ? resolve(dataDir, 'access.log') : resolve(cwd, file),
    maxFileBytes: maxFileMiB * 1024 * 1024,
    keepFiles,
  };
}

/**
 * The kubelet's probes, and metrics, come from outside the pod; NetworkPolicies say who may connect. A gateway alone has
 * nothing but them on its control port.
 */
function controlHostOf(orchestrator: Config['orchestrator'], host: string, hasPods: boolean): string {
  return orchestrator === 'kubernetes' || !hasPods ? host : '127.0.0.1';
}

function directoryOf(value: string | undefined, cwd: string): string | null {
  return value === undefined || value === '' ? null : resolve(cwd, value);
}

function portProblems(ports: Record<'httpsPort' | 'httpPort' | 'controlPort', number>, problems: string[]): void {
  const fixed = Object.values(ports).filter((port) => port !== 0);
  if (new Set(fixed).size === fixed.length) return;
  problems.push(
    'PODGATE_HTTPS_PORT, PODGATE_HTTP_PORT, PODGATE_CONTROL_PORT: two of them are the same port; use a different port for each.',
  );
}

function listenerProblems(listeners: Config['listeners'], taken: readonly number[], problems: string[]): void {
  const seen = new Set(taken);
  for (const [index, { port }] of listeners.entries()) {
    if (seen.has(port))
      problems.push(`PODGATE_CONFIG listeners[${index}].port: ${port} is already used; use a different port for each.`);
    seen.add(port);
  }
}

/** An authority that is not used would be a false comfort: the connection would be in plaintext. */
function redisCaProblems(environment: Environment, cwd: string, problems: string[]): void {
  const { PODGATE_REDIS_CA_FILE: file, PODGATE_REDIS_URL: url = '' } = environment;
  if (file === undefined) return;
  if (!/^rediss[:+]/.test(url)) {
    problems.push(
      'PODGATE_REDIS_CA_FILE: is used with TLS only; set PODGATE_REDIS_URL to rediss://..., or unset this.',
    );
    return;
  }
  checkFile(resolve(cwd, file), 'PODGATE_REDIS_CA_FILE', caProblem, problems);
}

/** Process pods run on this machine: anyone who can reach the API can run programs here. */
function hostProblems(environment: Environment, problems: string[]): void {
  const host = environment.PODGATE_HOST;
  if (environment.PODGATE_ORCHESTRATOR !== 'process') return;
  if (isLoopback(host) || environment.PODGATE_ALLOW_REMOTE_PROCESS_PODS === 'yes') return;
  problems.push(
    'PODGATE_HOST: is not a loopback address, so anyone who can reach it could run pods as processes on this machine; ' +
      'unset it, or set PODGATE_ALLOW_REMOTE_PROCESS_PODS=yes if that is what you want.',
  );
}

function tenantsOf(environment: Environment, file: ConfigFile, cwd: string, problems: string[]): Config['tenants'] {
  const [first, ...others] = file.tenants ?? [];
  if (first === undefined) {
    const baseHost = environment.PODGATE_BASE_HOST ?? DEFAULT_BASE_HOST;
    return [
      {
        id: DEFAULT_TENANT,
        baseHost,
        issuer: issuerOf(baseHost),
        key: null,
        administrators: [],
        services: [],
        oauth: null,
      },
    ];
  }
  const tenants: Config['tenants'] = [tenantOf(first, cwd), ...others.map((tenant) => tenantOf(tenant, cwd))];
  if (environment.PODGATE_BASE_HOST !== undefined && environment.PODGATE_BASE_HOST !== first.baseHost) {
    problems.push(
      'PODGATE_BASE_HOST: differs from tenants[0].baseHost of PODGATE_CONFIG, the default tenant; unset one of them.',
    );
  }
  tenantProblems(tenants, problems);
  return tenants;
}

function tenantProblems(tenants: readonly TenantConfig[], problems: string[]): void {
  for (const [index, tenant] of tenants.entries()) {
    const where = `PODGATE_CONFIG tenants[${index}]`;
    if (index > 0 && tenant.key === null) {
      problems.push(
        `${where}: has no key (key, jwks, jwksFile or jwksUrl); only the first tenant's tokens are signed by this installation.`,
      );
    }
    const keyFile = tenant.oauth?.tapis?.clientKeyFile;
    if (keyFile !== undefined) checkFile(keyFile, `${where}.oauth.clientKeyFile`, clientKeyProblem, problems);
    const before = tenants.slice(0, index);
    if (before.some(({ id }) => id === tenant.id))
      problems.push(`${where}.id: is already used; use a different id for each tenant.`);
    for (const service of tenant.services) {
      if (tenants.some(({ id }) => id === service.tenant)) continue;
      problems.push(
        `${where}.services: ${service.name} is signed by the tenant ${service.tenant}, which is not configured; add it.`,
      );
    }
    const clashes = ({ baseHost }: TenantConfig): boolean =>
      isInside(tenant.baseHost, baseHost) || isInside(baseHost, tenant.baseHost);
    if (before.some(clashes)) {
      problems.push(`${where}.baseHost: belongs to another tenant, or overlaps with its pods' names; choose another.`);
    }
  }
}

type WrittenTenant = NonNullable<ConfigFile['tenants']>[number];

function keyOf({ key, jwks, jwksFile, jwksUrl }: WrittenTenant, cwd: string): TenantConfig['key'] {
  if (jwksFile !== undefined) return { file: resolve(cwd, jwksFile) };
  if (jwksUrl !== undefined) return { url: jwksUrl };
  return key ?? jwks ?? null;
}

function tenantOf(tenant: WrittenTenant, cwd: string): TenantConfig {
  const { id, baseHost, administrators } = tenant;
  const services = tenant.services.map((written) => {
    const [name = '', ofTenant = id] = written.split('@');
    return { name, tenant: ofTenant };
  });
  return {
    id,
    baseHost,
    issuer: tenant.issuer ?? issuerOf(baseHost),
    key: keyOf(tenant, cwd),
    administrators,
    services,
    oauth: oauthOf(tenant, cwd),
  };
}

function oauthOf({ oauth }: WrittenTenant, cwd: string): TenantConfig['oauth'] {
  if (oauth === undefined) return null;
  const { clientId, tokenEndpoint, authorizationEndpoint = null, deviceAuthorizationEndpoint = null } = oauth;
  const { scope = null, clientKeyFile } = oauth;
  const tapis = clientKeyFile === undefined ? null : { clientKeyFile: resolve(cwd, clientKeyFile) };
  return { clientId, tokenEndpoint, authorizationEndpoint, deviceAuthorizationEndpoint, scope, tapis };
}

/** As it goes into a Basic credential. */
function clientKeyProblem(text: string): string | null {
  return /^[\x21-\x7e]{1,200}$/.test(text.trim()) ? null : 'must contain the key of the OAuth client alone';
}

/** As Tapis names its issuers. */
function issuerOf(baseHost: string): string {
  return `https://${baseHost}/v3/tokens`;
}

function podLimitsOf(file: ConfigFile, problems: string[]): PodLimitsConfig {
  const { cpu, memory, gpusMaximum, default: defaultResources } = file.resources;
  const { cpuRequest, cpuLimit, memRequest, memLimit, gpus } = defaultResources;
  const isWithin = (value: number, { minimum, maximum }: { minimum: number; maximum: number }): boolean =>
    value >= minimum && value <= maximum;
  const where = 'PODGATE_CONFIG resources.default';
  if (![cpuRequest, cpuLimit].every((value) => isWithin(value, cpu)) || cpuRequest > cpuLimit) {
    problems.push(
      `${where}: cpuRequest and cpuLimit must be within resources.cpu, and the request must not exceed the limit.`,
    );
  }
  if (![memRequest, memLimit].every((value) => isWithin(value, memory)) || memRequest > memLimit) {
    problems.push(
      `${where}: memRequest and memLimit must be within resources.memory, and the request must not exceed the limit.`,
    );
  }
  if (gpus > gpusMaximum) problems.push(`${where}.gpus: must not exceed resources.gpusMaximum.`);
  return {
    cpu,
    memory,
    gpusMaximum,
    defaultResources,
    minTimeToStopSeconds: file.minTimeToStopSeconds,
  };
}

/** Where there is one tenant, it is the site. */
function siteAdminTenantOf(
  written: string | undefined,
  tenants: readonly { readonly id: string }[],
  problems: string[],
): string | null {
  if (written === undefined) return tenants.length === 1 ? (tenants[0]?.id ?? null) : null;
  if (!tenants.some(({ id }) => id === written)) {
    problems.push(`PODGATE_CONFIG siteAdminTenant: must be the id of one of tenants, not ${JSON.stringify(written)}.`);
  }
  return written;
}
