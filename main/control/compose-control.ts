import { collectMetrics } from '../../control/metrics/exposition.ts';
import type { Logger } from '../../core/logger.ts';
import type { SupervisorLink } from '../supervisor-link.ts';
import { composeApi } from './compose-api.ts';
import { composeAuthenticator } from './compose-authenticator.ts';
import { composeCertificates } from './compose-certificates.ts';
import { composeConsole } from './compose-console.ts';
import { composeOperator } from './compose-operator.ts';
import { composePods } from './compose-pods.ts';
import { composeQuotas } from './compose-quotas.ts';
import { composeReadiness } from './compose-readiness.ts';
import { composeWorkerChannel } from './compose-worker-channel.ts';
import { openControlBase } from './control-base.ts';
import { metricSources } from './control-metrics.ts';
import { createControlServer } from './control-servers.ts';
import { probesAlone } from './probes-alone.ts';
import { runControl } from './run-control.ts';

export interface Control {
  /** Works until the signal aborts; then ends in order, and ends the pods too if Podgate ends for good. */
  run(ending: AbortSignal): Promise<void>;
}

/** Puts the control plane together. Each `compose` function makes one part from the base and the parts before it. */
export async function composeControl(link: SupervisorLink, log: Logger): Promise<Control> {
  const { version } = link.start.settings;
  const working = new AbortController();
  const base = await openControlBase(link, log);
  const { config, database } = base;
  const certificates = await composeCertificates(base);
  const authenticator = composeAuthenticator(base);
  const workers = composeWorkerChannel(base, certificates, authenticator);
  const quotas = composeQuotas(base);
  const pods = composePods(base, { quotas, workers });
  const readiness = composeReadiness(base, { certificates, pods });
  const metrics = (): Promise<string> => collectMetrics(sources, log);
  const console = await composeConsole(base, metrics);
  const api = composeApi(base, {
    authenticator,
    certificates,
    workers,
    quotas,
    console,
    readiness: () => readiness.readiness(),
  });
  const sources = metricSources(base, { api, certificates, workers, pods, quotas });
  const server = createControlServer({
    config,
    served: config.roles.includes('control') ? api : probesAlone(config, () => readiness.readiness(), version),
    metrics,
    version,
    log,
  });
  const operator = composeOperator(base, { certificates, pods, console, signal: working.signal });
  const loops = [workers, certificates, pods, database.replicas].map(
    (part) => (signal: AbortSignal) => part.run(signal),
  );
  return { run: (ending) => runControl(base, { loops, readiness, server, operator, console, working }, ending) };
}
