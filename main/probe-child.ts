import { join } from 'node:path';
import { errorText } from '../core/errors.ts';
import { untilAborted } from '../core/abort.ts';
import { CONTROL_SOCKET } from './control-port/client-line.ts';
import { createControlPort } from './control-port/control-port.ts';
import { judgeLiveness, judgeReadiness, type ProbeState } from './control-port/probe-state.ts';
import { descriptorLimit } from './descriptor-limit.ts';
import { planDescriptors } from './descriptor-plan.ts';
import { createLogger } from './logging.ts';
import { openSupervisorLink } from './supervisor-link.ts';
import { endOnUncaught } from './uncaught.ts';

/** Answers probes on the control port even while the control process is busy, and forwards everything else to it. */
export async function runProbeChild(): Promise<void> {
  const link = await openSupervisorLink();
  const { settings } = link.start;
  const log = createLogger('probes', settings.isTerminal);
  endOnUncaught(log);
  const startedMs = performance.now();
  let state: ProbeState | null = null;
  let toldMs: number | null = null;
  link.onProbeState((told) => {
    state = told;
    toldMs = performance.now();
  });
  const ageMs = (): number => performance.now() - (toldMs ?? startedMs);
  const port = createControlPort({
    controlSocketPath: join(settings.runDir, CONTROL_SOCKET),
    answer: (path) => (path === '/healthz' ? judgeLiveness(ageMs()) : judgeReadiness(state, ageMs())),
    maxConnections: planDescriptors(descriptorLimit()).maxConnections,
    version: settings.version,
    log,
  });
  link.onListen(['control'], ({ handle }) => {
    port.listen(handle).catch((error: unknown) => {
      log.error({ error: errorText(error) }, 'cannot accept on the control port');
      process.exit(1);
    });
  });
  await untilAborted(link.ending);
  port.close();
  process.exit(0);
}
