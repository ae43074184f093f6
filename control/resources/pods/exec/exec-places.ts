import { EXEC_TOTAL_MAX, TERMINALS_TOTAL_MAX } from '../../../../core/shell.ts';
import { type PlaceLimits, Places } from '../../../http/limits/places.ts';

/** In all, as many as the orchestrator runs at a time: nobody can take them all. */
const LIMITS: PlaceLimits = { all: EXEC_TOTAL_MAX, perTenant: 16, perUser: 4 };

/** What users run in pods through this replica, whichever operation runs it. */
export function createExecPlaces(): Places {
  return new Places({
    limits: LIMITS,
    what: 'commands or transfers running in pods',
    remedy: 'Wait until one of them ends.',
    full: 'Too many commands are running in pods.',
  });
}

/** The terminals that users have open through this replica. */
export function createTerminalPlaces(): Places {
  return new Places({
    limits: { all: TERMINALS_TOTAL_MAX, perTenant: 24, perUser: 6 },
    what: 'terminals open',
    remedy: 'Close one of them.',
    full: 'Too many terminals are open.',
  });
}
