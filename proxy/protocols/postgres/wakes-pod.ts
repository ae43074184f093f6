import { asksWhetherReady, type StartupParameters } from './startup-parameters.ts';

/**
 * Does this StartupMessage wake a pod that sleeps? Scanners do not know the names of its users: only those wake it. `users`
 * null = they are not known here. pg_isready never does: monitors run it all day.
 */
export function wakesPod(startup: StartupParameters, users: readonly string[] | null): boolean {
  if (asksWhetherReady(startup)) return false;
  const user = userOf(startup);
  return user !== null && (users === null || users.includes(user));
}

/** As a server reads it: the last of two. Null = none is named. */
export function userOf({ parameters }: StartupParameters): string | null {
  const value = parameters.findLast(({ name }) => name === 'user')?.value ?? '';
  return value === '' ? null : Buffer.from(value, 'latin1').toString('utf8');
}
