import type { Duplex } from 'node:stream';
import type { Refusal } from '../../../connection/refusal.ts';
import { endWith } from '../../../bytes/end-with.ts';
import { rawResponse, renderProblem } from './page.ts';
import { problemOfRefusal } from './problem.ts';

/**
 * Writes one complete HTTP/1.1 response and ends the socket, whatever the client sent or still sends. For connections
 * that are refused before a request is read, so that nothing is known of what the client accepts: HTML would be noise
 * in a terminal, JSON is readable in both.
 */
export function refuseHttp(socket: Duplex, refusal: Refusal): void {
  endWith(socket, rawResponse(renderProblem(problemOfRefusal(refusal), '', null)));
}
