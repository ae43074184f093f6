import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { OPERATOR_SOCKET } from '../../control/operator/operator-handler.ts';
import { keepAllOutput } from '../../control/resources/pods/reconcile/keep-output.ts';
import { untilAborted } from '../../core/abort.ts';
import { CONTROL_SOCKET } from '../control-port/client-line.ts';
import { listenForGateways } from '../remote/gateway-listener.ts';
import { prepareAdminToken } from './admin-token.ts';
import { type Console, createLoginCode } from './compose-console.ts';
import type { ComposedReadiness } from './compose-readiness.ts';
import type { ControlBase } from './control-base.ts';
import type { ControlServer } from './control-servers.ts';
import type { OperatorServer } from './operator-server.ts';
import { reportReadiness } from './readiness.ts';

/** Pods have this long to end, of the 5 s after Ctrl-C. */
const STOP_PODS_MS = 3_500;
/** Loops that do not end by then are left behind: the process ends anyway. */
const STOP_LOOPS_MS = 1_000;
/** Output of pods is stored as far as this time allows. */
const STORE_OUTPUT_MS = 500;

/** Works until its signal aborts. */
type Loop = (signal: AbortSignal) => Promise<void>;

export interface RunningParts {
  readonly loops: readonly Loop[];
  readonly readiness: ComposedReadiness;
  readonly server: ControlServer;
  readonly operator: OperatorServer;
  readonly console: Console | null;
  /** Aborted here when the parts are to end. */
  readonly working: AbortController;
}

/**
 * Starts everything and works until `ending` aborts. Then ends in order: the parts, the pods if Podgate ends for good, the
 * orchestrator, the store. Rejects when a loop fails.
 */
export async function runControl(base: ControlBase, parts: RunningParts, ending: AbortSignal): Promise<void> {
  const { link, config, database, keys, opened, log } = base;
  const { orchestrator, stopAll } = opened;
  const { readiness, server, operator, console, working } = parts;
  const { runDir } = link.start.settings;
  const { signal } = working;
  const pods = new AbortController();
  const failed = Promise.withResolvers<never>();
  const supervise = (work: Promise<void>): Promise<void> => {
    work.catch((error: unknown) => failed.reject(error));
    return work.catch(() => undefined);
  };
  const adminToken = await prepareAdminToken({
    path: join(config.dataDir, 'admin.token'),
    tenant: config.tenants[0],
    key: keys.tokenKey,
    log,
  });

  const podWork = supervise(orchestrator.run(pods.signal));
  const work = [...parts.loops, ...(adminToken === null ? [] : [adminToken])].map((loop) => supervise(loop(signal)));
  if (config.gatewayListener !== null) {
    work.push(supervise(listenForGateways({ config: config.gatewayListener, runDir, log }, signal)));
  }
  await server.listen(join(runDir, 'api.sock'));
  await operator.listen(join(runDir, OPERATOR_SOCKET));
  await server.listen({ controlSocketPath: join(runDir, CONTROL_SOCKET) });
  work.push(supervise(readiness.exercise.run(signal)));
  if (config.workers === 0 && config.roles.includes('gateway')) {
    const { runGateway } = await import('../gateway-role.ts');
    work.push(supervise(runGateway(link, log, signal)));
  }
  link.send({ kind: 'ready', protection: opened.protection, loginCode: createLoginCode(console) });
  const stopReporting = reportReadiness(link, () => readiness.report(), log);
  try {
    await Promise.race([untilAborted(ending), failed.promise]);
  } finally {
    stopReporting();
    working.abort();
    const closed = Promise.all([server.close(), operator.close()]);
    await Promise.race([Promise.all([closed, ...work]), delay(STOP_LOOPS_MS)]);
    if (stopAll !== null && link.isForGood()) {
      await keepAllOutput({ logs: database.logs, orchestrator, log }, AbortSignal.timeout(STORE_OUTPUT_MS)).catch(
        (error: unknown) => log.warn({ error: String(error) }, 'failed to store some output of pods'),
      );
      await stopAll(AbortSignal.timeout(STOP_PODS_MS)).catch((error: unknown) =>
        log.warn({ error: String(error) }, 'some pods did not stop in time; the next start stops them'),
      );
    }
    pods.abort();
    await Promise.race([podWork, delay(STOP_LOOPS_MS)]);
    database.close();
  }
}
