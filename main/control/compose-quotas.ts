import { type Admission, createAdmission } from '../../control/objects/quota/admission.ts';
import { createUsageOf, type UsageOf } from '../../control/objects/quota/count-usage.ts';
import type { ControlBase } from './control-base.ts';

export interface ComposedQuotas {
  readonly usageOf: UsageOf;
  readonly admission: Admission;
}

export function composeQuotas({ config, database, opened, clock }: ControlBase): ComposedQuotas {
  const { templates } = opened;
  const usageOf = createUsageOf(
    ({ template, persistentVolume }) =>
      // A process pod has a directory for its template's data, whether it asks for one or not.
      persistentVolume || (config.orchestrator === 'process' && (templates.find(template)?.dataPath ?? null) !== null),
  );
  const admission = createAdmission({
    store: database.store,
    quotas: config.quotas,
    usageOf,
    monotonicMs: () => clock.monotonicMs(),
  });
  return { usageOf, admission };
}
