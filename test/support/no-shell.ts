import { PodgateError } from '../../core/errors.ts';
import type { Shell } from '../../core/shell.ts';
import type { WorkloadOutput } from '../../core/workload-output.ts';

/** Of an orchestrator in which no test runs commands. */
export const noShell: Shell = {
  exec: () => Promise.reject(new PodgateError('orchestrator.unavailable')),
  terminal: () => Promise.reject(new PodgateError('orchestrator.unavailable')),
};

/** Of one whose workloads print nothing. */
export const noOutput: WorkloadOutput = { after: async (_, { mark }) => ({ text: '', mark, isAll: true }) };
