import { join } from 'node:path';
import { collectMetrics } from '../../control/metrics/exposition.ts';
import { processMetrics } from '../../control/metrics/process-metrics.ts';
import { untilAborted } from '../../core/abort.ts';
import { PodgateError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { gauge } from '../../core/metrics.ts';
import { CONTROL_SOCKET } from '../control-port/client-line.ts';
import type { ControlReport } from '../control-port/probe-state.ts';
import { createControlServer } from './control-servers.ts';
import { probesAlone } from './probes-alone.ts';
import { readinessOf, reportReadiness } from './readiness.ts';
import { watchProcessNumbers } from '../process-numbers.ts';
import type { SupervisorLink } from '../supervisor-link.ts';
import { systemClock as clock } from '../system-clock.ts';
import { createUplink, type UplinkState } from '../remote/uplink.ts';

/**
 * Runs in place of the control plane on a replica that is only a gateway: connects to a control plane elsewhere, and serves
 * probes and metrics on the control port. Has no store, queue or secret key.
 */
export async function runGatewayAlone(link: SupervisorLink, log: Logger): Promise<void> {
  const { config, version, runDir } = link.start.settings;
  if (config.controlPlane === null)
    throw new PodgateError('config.invalid', { detail: 'no control plane is configured' });
  const uplink = createUplink({ config: config.controlPlane, runDir, clock, log });
  const numbers = watchProcessNumbers();
  const metrics = [
    () => processMetrics('uplink', numbers()),
    () => [
      gauge(
        'podgate_uplink_feeds',
        'Workers of this gateway that follow the routes of a remote control plane.',
        uplink.state.kind === 'connected' ? uplink.state.feeds : 0,
      ),
    ],
  ];
  const report = () => reportOf(uplink.state);
  const server = createControlServer({
    config,
    served: probesAlone(config, async () => readinessOf(link, report()), version),
    metrics: () => collectMetrics(metrics, log),
    version,
    log,
  });
  const work = [uplink.run(link.ending)];
  await server.listen({ controlSocketPath: join(runDir, CONTROL_SOCKET) });
  link.send({ kind: 'ready', protection: null, loginCode: null });
  const stopReporting = reportReadiness(link, report, log);
  if (config.workers === 0) {
    const { runGateway } = await import('../gateway-role.ts');
    work.push(runGateway(link, log, link.ending));
  }
  await Promise.race([untilAborted(link.ending), ...work]);
  stopReporting();
  await Promise.all([server.close(), ...work]);
}

/** Workers accept only with a complete table and keep it while the control plane is away, so that does not make it unready. */
function reportOf(state: UplinkState): ControlReport {
  return {
    ok: true,
    detail: {
      controlPlane: state.kind === 'away' ? `disconnected since ${new Date(state.sinceMs).toISOString()}` : state.kind,
    },
  };
}
