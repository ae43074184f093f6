import { backoffMs } from '../../../core/backoff.ts';
import { withoutStop } from '../without-stop.ts';
import { type Exit, exitText } from './shim.ts';

/** So many failures in a row are a crash loop. */
const CRASHING_AFTER = 3;
/** Who was ready for this long has recovered: earlier failures are forgotten. */
const RECOVERED_AFTER_MS = 10_000;
const DELAY_MAX_MS = 60_000;

export type AfterExit =
  | { readonly kind: 'completed' }
  | {
      readonly kind: 'restart';
      readonly delayMs: number;
      /** In a row, this one included. */
      readonly failures: number;
      readonly isCrashing: boolean;
      /** A sentence for the user. */
      readonly message: string;
    };

/** What follows the end of a program. `failure`: how it ended, or why it could not be started. */
export function planAfterExit(input: {
  readonly failure: Exit | { readonly kind: 'not-started'; readonly reason: string };
  /** Programs of users may end well; a server that ends has failed. */
  readonly mayComplete: boolean;
  readonly failuresBefore: number;
  /** For how long it was ready; null = never. */
  readonly readyForMs: number | null;
  /** Wait after the first failure. It doubles with each. */
  readonly firstDelayMs: number;
}): AfterExit {
  const { failure } = input;
  if (input.mayComplete && failure.kind === 'code' && failure.code === 0) return { kind: 'completed' };
  const hadRecovered = input.readyForMs !== null && input.readyForMs >= RECOVERED_AFTER_MS;
  const failures = hadRecovered ? 1 : input.failuresBefore + 1;
  const delayMs = backoffMs(failures, { firstMs: input.firstDelayMs, maxMs: DELAY_MAX_MS });
  const reason = failure.kind === 'not-started' ? failure.reason : exitText(failure);
  const isCrashing = failures >= CRASHING_AFTER;
  return {
    kind: 'restart',
    delayMs,
    failures,
    isCrashing,
    message: isCrashing ? `${withoutStop(reason)}, ${failures} times in a row` : reason,
  };
}
