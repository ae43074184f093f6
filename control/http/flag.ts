import { PodgateError } from '../../core/errors.ts';
import type { Call } from './operation.ts';

/** A query parameter that is true or false. Throws 'api.invalid' for anything else. */
export function flagOf({ query }: Pick<Call, 'query'>, name: string, otherwise = false): boolean {
  // Python's clients send True.
  const value = query.get(name)?.toLowerCase() ?? null;
  if (value === null) return otherwise;
  if (value === 'true' || value === 'false') return value === 'true';
  throw new PodgateError('api.invalid', { publicMessages: [`${name}: must be true or false`] });
}
