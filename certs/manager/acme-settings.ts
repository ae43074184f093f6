import type { AcmeServer } from '../acme/acme-session.ts';
import type { BudgetLimits } from '../plan/budget.ts';
import type { TenantNames } from '../plan/plan-certificates.ts';

/** What the operator wants, with its secrets. */
export interface AcmeSettings {
  readonly server: AcmeServer;
  /** Addresses that the ACME server may write to. */
  readonly emails: readonly string[];
  /** For single names, in the order of preference. */
  readonly challenges: readonly ('http-01' | 'tls-alpn-01')[];
  /** Common name of the root or intermediate that chains shall lead to. */
  readonly preferredChain: string | null;
  readonly limits: BudgetLimits;
  readonly tenants: readonly TenantNames[];
}
