import type { Logger } from '../../core/logger.ts';

const nothing = () => undefined;

/** For tests that are not about what is logged. */
export const silentLog: Logger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => silentLog,
};
