import type { WorkloadRef } from './workload-ref.ts';

/** What uses a pod from the inside, where no gateway sees it. */
export type UseInside =
  | { readonly kind: 'idle' }
  /** `because`: at most REASONS_MAX phrases, such as "autovacuum of table public.orders". Names in them are of the pod's user. */
  | { readonly kind: 'in-use'; readonly because: readonly string[] }
  /** It could not be checked, which counts as use. `why` is a phrase for the user. */
  | { readonly kind: 'unknown'; readonly why: string };

const REASONS_MAX = 8;
const REASON_MAX_LENGTH = 120;

/** From what a pod has printed, one reason in a line: it may print anything. */
export function useInsideOf(lines: readonly string[]): UseInside {
  const because = lines
    .slice(0, REASONS_MAX)
    .map(plainPhrase)
    .filter((text) => text !== '');
  return because.length === 0 ? { kind: 'idle' } : { kind: 'in-use', because };
}

/** Without control characters, of bounded length. */
export function plainPhrase(text: string): string {
  const plain = text
    .slice(0, 4 * REASON_MAX_LENGTH)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
  return plain.length <= REASON_MAX_LENGTH ? plain : `${plain.slice(0, REASON_MAX_LENGTH - 1)}…`;
}

/**
 * Checks a running workload of a template that has such a check; 'idle' for all others. Rejects when the orchestrator
 * cannot be asked, or when the signal aborts.
 */
export type CheckUseInside = (
  ref: WorkloadRef & { readonly template: string },
  signal: AbortSignal,
) => Promise<UseInside>;
