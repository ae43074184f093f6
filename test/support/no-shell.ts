import { PodgateError } from '../../core/errors.ts';
import type { Shell } from '../../core/shell.ts';

/** Of an orchestrator in which no test runs commands. */
export const noShell: Shell = { exec: () => Promise.reject(new PodgateError('orchestrator.unavailable')) };
