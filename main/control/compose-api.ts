import type { Config } from '../../config/config.ts';
import { type Api, createApi } from '../../control/api.ts';
import type { Authenticator } from '../../control/auth/authenticator.ts';
import type { Readiness } from '../../control/resources/health/operations.ts';
import type { FrontDoor } from '../../control/resources/pods/explain/attempt.ts';
import { compileAddressList, isListed } from '../../core/address-range.ts';
import { LoginSeals } from '../../core/pod-login.ts';
import { dialable } from '../dialable.ts';
import type { Certificates } from './compose-certificates.ts';
import type { Console } from './compose-console.ts';
import type { ComposedQuotas } from './compose-quotas.ts';
import type { WorkerChannel } from './compose-worker-channel.ts';
import type { ControlBase } from './control-base.ts';

export interface ApiSources {
  readonly authenticator: Authenticator;
  readonly certificates: Certificates;
  readonly workers: WorkerChannel;
  readonly quotas: ComposedQuotas;
  /** Null: the configuration turns it off. */
  readonly console: Console | null;
  readonly readiness: () => Promise<Readiness>;
}

/** The API, with the settings and the parts that its operations need. */
export function composeApi(base: ControlBase, sources: ApiSources): Api {
  const { link, config, database, keys, opened, filesWork, clock, log } = base;
  const { authenticator, certificates, workers, quotas, console, readiness } = sources;
  return createApi({
    store: database.store,
    logs: database.logs,
    orchestrator: { ...opened.orchestrator, shell: workers.shellUse.counted(opened.orchestrator.shell) },
    vault: keys.vault,
    templates: opened.templates,
    feed: workers.routable,
    connections: workers.connections,
    traffic: workers.traffic,
    clock,
    log,
    authenticator,
    site: config.site,
    tenants: config.tenants,
    limits: config.pods,
    ...quotas,
    allowsImages: opened.allowsImages,
    mountProblem: opened.mountProblem,
    imageAllowList: config.images,
    siteAdminTenant: config.siteAdminTenant,
    publicHttpsPort: config.publicHttpsPort,
    statusNames: config.statusNames,
    cors: config.cors,
    version: link.start.settings.version,
    calls: config.api.calls,
    slowReaders: config.api.slowReaders,
    failedLogins: { perMinute: config.api.failedLoginsPerMinute, burst: config.api.failedLoginsPerMinute },
    controlHosts: config.api.controlHosts,
    certificates: certificates.manager,
    readiness,
    frontDoor: frontDoorOf(config),
    loginSeals: new LoginSeals(() => keys.tickets.keys()),
    ...(filesWork === null ? {} : { volumes: { ...filesWork, ...config.volumes } }),
    ...(console ?? {}),
  });
}

/** Null: the gateway is elsewhere. */
function frontDoorOf({ roles, listenHosts, httpsPort: port, proxyProtocol }: Config): FrontDoor | null {
  if (!roles.includes('gateway')) return null;
  const address = dialable(listenHosts[0] ?? '127.0.0.1');
  return { address, port, takesHeader: isListed(compileAddressList(proxyProtocol.from), address) };
}
