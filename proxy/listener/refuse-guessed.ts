import type { Duplex } from 'node:stream';
import { refuseBolt } from '../protocols/bolt/refuse.ts';
import { refuseHttp } from '../protocols/http/responses/refuse.ts';
import { refusePostgres } from '../protocols/postgres/refuse.ts';
import type { Refusal } from '../connection/refusal.ts';
import { classifyFirstBytes, type FirstBytes } from '../sniff/first-bytes.ts';
import { match, needMore } from '../bytes/parsed.ts';
import { peekBytes } from '../bytes/peek-bytes.ts';

/** A refused Bolt session stays this long: drivers show the text only when BEGIN or RUN fails, and try again on it. */
export const REFUSED_BOLT_MS = 30_000;

/** The protocols in which a refusal can be said. */
export type SpokenProtocol = Extract<FirstBytes, 'http' | 'bolt' | 'startup-message'>;

export interface RefuseOptions {
  /** host:port that clients dial: a refused Bolt session routes to itself. */
  readonly address: string;
}

/** Says a refusal in the protocol that the client is known to speak; its bytes must be in its socket. Owns the socket. */
export function refuseSpoken(socket: Duplex, protocol: SpokenProtocol, refusal: Refusal, options: RefuseOptions): void {
  switch (protocol) {
    case 'http':
      refuseHttp(socket, refusal);
      return;
    case 'bolt':
      refuseBolt(socket, refusal, { deadlineMs: REFUSED_BOLT_MS, address: options.address });
      return;
    case 'startup-message':
      refusePostgres(socket, refusal);
      return;
  }
}

/** Which of them a client speaks, by its first bytes; null when it is none, or ends first. The deadline is the caller's. */
export function guessSpoken(socket: Duplex, done: (protocol: SpokenProtocol | null) => void): void {
  peekBytes(
    socket,
    (bytes) => {
      const first = classifyFirstBytes(bytes);
      return first === 'need-more' ? needMore(bytes.length + 1) : match(first);
    },
    (outcome) => {
      const first = outcome.kind === 'match' ? outcome.value : 'unknown';
      done(first === 'http' || first === 'bolt' || first === 'startup-message' ? first : null);
    },
  );
}
