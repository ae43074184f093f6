import type { HealthLoop } from '../resources/pods/reconcile/health-loop.ts';
import type { HeldBackRemovals } from '../resources/pods/reconcile/orphan-watch.ts';
import type { StoreJudge } from '../store/store-judge.ts';

export interface ConfirmOptions {
  /** The code of the list that the operator has seen; null only lists. */
  readonly code: string | null;
}

export type ConfirmReport =
  /** Nothing is removed, and nothing can be confirmed. */
  | { readonly kind: 'suspect'; readonly reason: string }
  /** Only the replica that leads knows what is held back. */
  | { readonly kind: 'not-leading' }
  | ({ readonly kind: 'held-back' } & HeldBackRemovals)
  | ({ readonly kind: 'confirmed' } & HeldBackRemovals)
  /** Refused: this is held back now, and the code is of another list. */
  | ({ readonly kind: 'changed' } & HeldBackRemovals);

/** Lists the removals that clean-up holds back, or confirms those that were listed: see docs/decisions/0041. */
export function confirmRemovals(
  parts: {
    readonly health: Pick<HealthLoop, 'heldBack' | 'confirmRemovals'>;
    readonly judge: Pick<StoreJudge, 'trust'>;
  },
  { code }: ConfirmOptions,
): ConfirmReport {
  const trust = parts.judge.trust();
  if (trust?.kind === 'suspect') return trust;
  const held = parts.health.heldBack();
  if (held === null) return { kind: 'not-leading' };
  if (code === null) return { kind: 'held-back', ...held };
  return { kind: parts.health.confirmRemovals(code) ? 'confirmed' : 'changed', ...held };
}
