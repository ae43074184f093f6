import { isEveryone, isForAll } from '../../core/permissions.ts';

const NAME_MAX_LENGTH = 128;
/** No white space, control or invisible characters; no colon and no slash, which part a name from what follows it. */
const NAME = /^[^\s\p{C}:/]+$/u;
const RESERVED: ReadonlySet<string> = new Set(['**', '__proto__', 'constructor', 'prototype']);

/**
 * One sentence about what is wrong with a user name, or null. Names stand in tokens, in permissions (`user:LEVEL`), in
 * paths and in action_logs: one with a colon made every later read of the permissions fail in the seed.
 */
export function userNameProblem(name: string): string | null {
  if (isForAll(name)) return 'is reserved: it stands for all users of a tenant';
  return nameProblem(name);
}

/** The same for what a permission may name: also everyone, and a tenant. */
export function granteeProblem(name: string): string | null {
  return isEveryone(name) ? null : nameProblem(name);
}

function nameProblem(name: string): string | null {
  if (name.length === 0) return 'must not be empty';
  if (name.length > NAME_MAX_LENGTH) return `must have at most ${NAME_MAX_LENGTH} characters`;
  if (!NAME.test(name)) return 'must not contain whitespace, control characters, ":" or "/"';
  if (RESERVED.has(name)) return 'is reserved';
  return null;
}
