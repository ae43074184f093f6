import { errorText, isStoreFailure, PodgateError } from '../../core/errors.ts';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { acquireExclusiveLock } from '../exclusive-lock.ts';
import { createLogger } from '../logging.ts';
import { EXIT_CONFIG } from '../messages.ts';
import { openSupervisorLink } from '../supervisor-link.ts';
import { endOnUncaught } from '../uncaught.ts';

/** When a supervisor was killed, its control child ends its pods first and then frees the store, within this time. */
const PREDECESSOR_MS = 10_000;

/**
 * V8 sizes its heap by the memory of the machine and lets it grow fourfold before it collects: responses that many clients
 * fetch at once then stay behind as 250 MiB of garbage, where 64 MiB are in use (decision 0088). V8 reads the flag at each
 * collection. Not an argument of the process: its command line is `node main.ts control`, by which people and scripts know it.
 */
const CLOSE_COLLECTION = '--heap-growing-percent=50';

/** The control plane: API, health loop, spawner, certificates. Pods are its children's children and outlive it. */
export async function runControlChild(): Promise<void> {
  setFlagsFromString(CLOSE_COLLECTION);
  const link = await openSupervisorLink();
  const { settings } = link.start;
  const log = createLogger('control', settings.isTerminal);
  endOnUncaught(log);
  const lock = await acquireExclusiveLock(join(settings.config.dataDir, 'control.lock'), PREDECESSOR_MS);
  if (lock === null) {
    log.error({}, 'another control process is still using the data directory');
    process.exit(1);
  }
  // Keep a reference until the end: the lock would be released when it is garbage-collected.
  process.once('exit', () => lock.release());
  try {
    if (settings.config.controlPlane !== null) await (await import('./gateway-alone.ts')).runGatewayAlone(link, log);
    else await (await (await import('./compose-control.ts')).composeControl(link, log)).run(link.ending);
    process.exit(0);
  } catch (error) {
    if (error instanceof PodgateError && error.code === 'config.invalid') {
      for (const message of error.publicMessages) process.stderr.write(`podgate: cannot start: ${message}\n`);
      process.exit(EXIT_CONFIG);
    }
    // Shutdown while waiting for a store that does not respond.
    if (link.ending.aborted && isStoreFailure(error)) process.exit(0);
    log.error({ error: error instanceof Error ? error.stack : errorText(error) }, 'the control process failed');
    process.exit(1);
  }
}
