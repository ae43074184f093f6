import type { Duplex } from 'node:stream';
import type { Refusal } from '../../connection/refusal.ts';
import { peekBytes } from '../../bytes/peek-bytes.ts';
import { endWith } from '../../bytes/end-with.ts';
import { errorResponse } from './error-response.ts';
import { asksWhetherReady, parseStartupParameters } from './startup-parameters.ts';

/**
 * Answers a StartupMessage with a refusal, once all of it has come: a client that is answered earlier loses the answer.
 * Owns the socket; the deadline is the caller's.
 */
export function refusePostgres(socket: Duplex, refusal: Refusal): void {
  peekBytes(socket, parseStartupParameters, (outcome) => {
    if (outcome.kind === 'ended') socket.destroy();
    else endWith(socket, errorResponse(refusal, outcome.kind === 'match' && asksWhetherReady(outcome.value)));
  });
}
