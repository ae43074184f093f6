import { PodgateError } from '../../core/errors.ts';
import { entityTag, type Generation, type Precondition } from '../http/if-match.ts';

/** Throws 'api.precondition-failed' unless If-Match names this generation of the object. `name`: `Pod mypg`. */
export function requireGeneration(precondition: Precondition, generation: Generation, name: string): void {
  if (precondition(generation)) return;
  throw new PodgateError('api.precondition-failed', {
    publicMessages: [`${name} has changed since you read it: its ETag is now ${entityTag(generation)}.`],
  });
}
