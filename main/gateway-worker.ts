import { runGateway } from './gateway-role.ts';
import { createLogger } from './logging.ts';
import { openSupervisorLink } from './supervisor-link.ts';
import { drainOnUncaught } from './uncaught.ts';

/** A worker: accepts connections on the sockets it is given, until it has to end or its supervisor is gone. */
export async function runGatewayWorker(): Promise<void> {
  const link = await openSupervisorLink();
  const log = createLogger(`worker ${link.start.worker}`, link.start.settings.isTerminal);
  drainOnUncaught(link, log);
  await runGateway(link, log, link.ending);
  process.exit(0);
}
