import { TICKET_PERIOD_MS } from '../../core/ticket-keys.ts';

/** Periods of wall-clock time, numbered since 1970. */
export interface TicketPeriods {
  /** Whose key seals. */
  readonly now: number;
  /** Its tickets are still good. */
  readonly before: number;
  /** Agreed on a period early: neither a store that is away at the turn nor a clock that is ahead matters. */
  readonly next: number;
}

export function ticketPeriodsAt(nowMs: number): TicketPeriods {
  const now = Math.floor(nowMs / TICKET_PERIOD_MS);
  return { now, before: now - 1, next: now + 1 };
}
