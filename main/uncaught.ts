import type { Logger } from '../core/logger.ts';

/** A mistake of ours: it is logged, and this process ends, since nobody knows what state it is in. Another follows. */
export function logUncaught(log: Logger): void {
  process.on('uncaughtException', (error: unknown) => {
    log.error({ error: error instanceof Error ? error.stack : String(error) }, 'an uncaught error ends this process');
    process.exit(1);
  });
}
