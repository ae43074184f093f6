import { join } from 'node:path';
import type { Readiness } from '../../control/resources/health/operations.ts';
import { createReadinessExercise, type ReadinessExercise } from '../../control/resources/health/readiness-exercise.ts';
import { callApiSocket } from '../call-api.ts';
import type { ControlReport } from '../control-port/probe-state.ts';
import type { Certificates } from './compose-certificates.ts';
import type { ComposedPods } from './compose-pods.ts';
import type { ControlBase } from './control-base.ts';
import { controlReport, readinessOf } from './readiness.ts';

export interface ComposedReadiness {
  readonly exercise: ReadinessExercise;
  /** For the supervisor, which answers probes. */
  report(): ControlReport;
  /** For the API's own `/readyz`. */
  readiness(): Promise<Readiness>;
}

export function composeReadiness(
  base: ControlBase,
  { certificates, pods }: { readonly certificates: Certificates; readonly pods: ComposedPods },
): ComposedReadiness {
  const { link, database, judge, feed, log } = base;
  const { store, replicas, damage, examine } = database;
  const { health, leadership } = pods;
  const exercise = createReadinessExercise({
    store,
    isTrusted: () => judge.trust()?.kind === 'healthy',
    damage,
    examine,
    callApi: (signal) => callApiSocket(join(link.start.settings.runDir, 'api.sock'), signal),
    log,
  });
  const report = (): ControlReport =>
    controlReport({ link, judge, leadership, health, feed, replicas, exercise, certificates: certificates.manager });
  return { exercise, report, readiness: async () => readinessOf(link, report()) };
}
