import type { Logger } from '../core/logger.ts';
import type { SupervisorLink } from './supervisor-link.ts';

/** A worker that fails more often than this while it drains ends at once. */
const DRAINING_ERRORS_MOST = 10;

/**
 * What an error that nothing caught does, in each kind of process (docs/decisions/0033). It is a mistake of ours, and
 * the state of the process is in doubt from then on.
 *
 * The control child and the child that answers probes hold no sessions: they end, and the supervisor starts the next.
 */
export function endOnUncaught(log: Logger): void {
  process.on('uncaughtException', (error: unknown) => {
    log.error({ error: textOf(error) }, 'uncaught error: this process exits');
    process.exit(1);
  });
}

/**
 * A worker asks for a successor and drains: nearly always the error concerns one connection, and the others need not be cut.
 * A worker that keeps failing ends at once.
 */
export function drainOnUncaught(link: SupervisorLink, log: Logger): void {
  let errors = 0;
  process.on('uncaughtException', (error: unknown) => {
    errors += 1;
    log.error({ error: textOf(error), errors }, 'uncaught error: a new worker takes over, and this one drains');
    if (errors > DRAINING_ERRORS_MOST) process.exit(1);
    if (errors === 1) link.send({ kind: 'failing' });
  });
}

/** The supervisor goes on: without it everything ends, pods included, and each of its steps stands for itself. */
export function outliveUncaught(log: Logger): void {
  process.on('uncaughtException', (error: unknown) => {
    log.error({ error: textOf(error) }, 'uncaught error in the supervisor, which continues');
  });
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
