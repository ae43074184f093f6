/**
 * What TLS sessions are sealed with in the tickets that clients keep, in every worker of every replica alike: 48 bytes in
 * base64, of which the first 16 are its name, in the clear in each ticket.
 */
export type TicketKey = string;

/** How long a key seals. So long a ticket is good for, and so much longer its key is kept. */
export const TICKET_PERIOD_MS = 4 * 60 * 60_000;
