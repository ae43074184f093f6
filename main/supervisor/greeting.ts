import { lookup } from 'node:dns/promises';
import { join, relative } from 'node:path';
import type { Config } from '../../config/config.ts';
import { httpsUrl } from '../../core/https-url.ts';
import type { Logger } from '../../core/logger.ts';
import { shellWord } from '../../core/shell-word.ts';
import { dialable } from '../dialable.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** A resolver that does not respond must not delay the greeting. */
const LOOKUP_DEADLINE_MS = 1_000;

export interface GreetingOptions {
  readonly config: Config;
  readonly version: string;
  readonly tookMs: number;
  readonly cwd: string;
  readonly asRoot: boolean;
  /** What separates process pods, in one line. Default: what holds everywhere. */
  readonly protection?: string | null;
  /** Of the console's login link; null or absent: it is not mentioned. */
  readonly loginCode?: string | null;
  /** Does this machine's resolver know the pods' names? */
  readonly resolvesNames: boolean;
}

/** Logs that Podgate is ready and, on a terminal, prints what to type next. */
export function greet(said: Omit<GreetingOptions, 'cwd' | 'asRoot' | 'resolvesNames'>, log: Logger): void {
  if (!process.stdout.isTTY) {
    log.info(greetingFields(said), 'ready');
    return;
  }
  log.info({ ms: Math.round(said.tookMs) }, 'ready');
  void resolvesPodNames(said.config.tenants[0].baseHost).then((resolvesNames) => {
    const asRoot = process.getuid?.() === 0;
    process.stdout.write(greetingOf({ ...said, cwd: process.cwd(), asRoot, resolvesNames }));
  });
}

/** What to type next. Every indented line works when pasted in this directory. The token itself is never printed. */
export function greetingOf(options: GreetingOptions): string {
  const { config, version, tookMs, cwd, asRoot, resolvesNames } = options;
  if (!config.roles.includes('gateway') || !config.roles.includes('control')) return greetingOfRoles(options);
  const [{ baseHost, key }] = config.tenants;
  const inside = relative(cwd, config.dataDir);
  const dataDir = inside.startsWith('..') || inside === '' ? config.dataDir : inside;
  const path = (name: string): string => shellWord(`${dataDir}/${name}`);
  const port = config.publicHttpsPort;
  const origin = (host: string): string => httpsUrl(host, port);
  const token = key === null ? `$(cat ${path('admin.token')})` : '$TOKEN';
  const api = `http://127.0.0.1:${config.controlPort}/v3/pods`;
  const create = (body: object): string =>
    `curl -sS -H "X-Tapis-Token: ${token}" -H 'Content-Type: application/json' -d '${JSON.stringify(body)}' '${api}?wait=routable'`;
  // curl resolves names below localhost by itself, and no others.
  const resolves =
    resolvesNames || isLocal(baseHost) ? '' : `--resolve hello.pods.${baseHost}:${port}:${dialedAddress(config)} `;
  const environment = dataDir === '.podgate' ? '' : `PODGATE_DATA_DIR=${shellWord(config.dataDir)} `;
  const where =
    config.kubernetes === null
      ? (options.protection ??
        `Pods run as processes on this machine, ${asRoot ? 'each with its own user ID' : 'with your rights'}: create only pods that you trust.`)
      : `Pods run in the namespace ${config.kubernetes.namespace} of the cluster.`;
  const ports = config.listeners.map(({ port: each }) => each);
  const also =
    ports.length === 0
      ? ''
      : `Everything is also available on port${ports.length > 1 ? 's' : ''} ${ports.join(', ').replace(/, (\d+)$/, ' and $1')}.\n`;
  return `
Podgate ${version} is ready (${(tookMs / 1000).toFixed(1)} s). API: ${origin(baseHost)}/v3/pods, pods: ${origin(`<pod>.pods.${baseHost}`)}
${also}${where}
${consoleLines(options)}
A Postgres, and SQL through the gateway:
  ${create({ pod_id: 'mypg', pod_template: 'postgres' })}
  ${environment}${podgateScript(cwd)} psql mypg -c 'SELECT version()'

A web server:
  ${create({ pod_id: 'hello', pod_template: 'podgate/hello' })}
  curl --cacert ${path('ca.pem')} ${resolves}${origin(`hello.pods.${baseHost}`)}/
${resolvesNames ? '' : `\n${resolveHint(baseHost, asRoot)}\n`}
${config.kubernetes === null ? 'Ctrl-C stops Podgate and its pods; they start again with it.' : 'Ctrl-C stops Podgate; pods keep running, and are reachable again when it is back.'}
`;
}

/** The same for a log that programs read: what an operator needs to know of this replica, and nothing to type. */
export function greetingFields({
  config,
  version,
  tookMs,
  protection = null,
}: Omit<GreetingOptions, 'cwd' | 'asRoot' | 'resolvesNames' | 'loginCode'>) {
  const { baseHost } = config.tenants[0];
  const { httpsPort, httpPort, controlPort, controlPlane, kubernetes } = config;
  return {
    version,
    ms: Math.round(tookMs),
    roles: config.roles,
    workers: config.workers,
    baseHosts: config.tenants.map((tenant) => tenant.baseHost),
    api: `${httpsUrl(baseHost, config.publicHttpsPort)}/v3/pods`,
    ports: { https: httpsPort, http: httpPort, control: controlPort, more: config.listeners.map(({ port }) => port) },
    ...(kubernetes === null
      ? { pods: 'processes', protection }
      : { pods: 'kubernetes', namespace: kubernetes.namespace }),
    ...(controlPlane === null
      ? {}
      : { controlPlane: controlPlane.addresses.map(({ host, port }) => `${host}:${port}`) }),
  };
}

/** The link is of no use to readers of a log: it is good once, and for minutes. */
function consoleLines({ config, loginCode = null, cwd }: GreetingOptions): string {
  if (loginCode === null) return '';
  return `
The console, logged in (the link works once, for 15 minutes; for another: ${podgateScript(cwd)} console):
  http://127.0.0.1:${config.controlPort}/#login=${loginCode}
`;
}

/** For a replica with only some of the roles: what to type next is printed by the others. */
function greetingOfRoles({ config, version, tookMs }: GreetingOptions): string {
  const { controlPlane } = config;
  const where =
    controlPlane === null
      ? ''
      : ` Its control plane: ${controlPlane.addresses.map(({ host, port }) => `${host}:${port}`).join(', ')}.`;
  return `
Podgate ${version} is ready (${(tookMs / 1000).toFixed(1)} s) with the roles ${config.roles.join(', ')}.${where}
`;
}

/** The command of this checkout, which no package of that name can replace, as typed in `cwd`. */
function podgateScript(cwd: string): string {
  return relative(ROOT, cwd) === '' ? './podgate' : shellWord(join(ROOT, 'podgate'));
}

function dialedAddress({ listenHosts: [host = '127.0.0.1'] }: Config): string {
  const address = dialable(host);
  return address.includes(':') ? `[${address}]` : address;
}

function isLocal(baseHost: string): boolean {
  return baseHost === 'localhost' || baseHost.endsWith('.localhost');
}

function resolveHint(baseHost: string, asRoot: boolean): string {
  const what = `This machine does not resolve *.pods.${baseHost}`;
  return isLocal(baseHost)
    ? `${what} (curl and browsers resolve it by themselves; other programs do not). To fix this:\n  ${asRoot ? '' : 'sudo '}apt-get install libnss-myhostname`
    : `${what}. To fix this, create a DNS record *.pods.${baseHost} that points to this machine's address.`;
}

/** Does the system's resolver (getaddrinfo, which drivers use) resolve names of pods? */
async function resolvesPodNames(baseHost: string): Promise<boolean> {
  const found = lookup(`hello.pods.${baseHost}`).then(
    () => true,
    () => false,
  );
  const tooLate = new Promise<boolean>((resolve) => {
    setTimeout(() => resolve(false), LOOKUP_DEADLINE_MS).unref();
  });
  return await Promise.race([found, tooLate]);
}
