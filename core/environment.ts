import type { Vault } from './vault.ts';

/** Sealed by the Vault, with the pod and the variable as context. */
export interface SealedValue {
  readonly sealed: string;
}

/**
 * Environment variables as records keep them: names in plain text, values sealed, for they are where users put passwords.
 * A value that is plain text was written by an earlier release; the health loop seals it.
 */
export type StoredEnvironment = Readonly<Record<string, string | SealedValue>>;

/** The values as the pod gets them. Throws PodgateError 'vault.cannot-open' when no key fits. */
export type OpenEnvironment = (uid: string, stored: StoredEnvironment) => Readonly<Record<string, string>>;

/** For the user of a pod whose variables cannot be opened. */
export const UNREADABLE_ENVIRONMENT =
  'No configured key can decrypt the environment variables of this pod: set them again, or ask the operator to restore the keyring.';

/** What callers below USER see in place of each value. */
export const HIDDEN_VALUE = '********';

export function openEnvironment(vault: Vault, uid: string, stored: StoredEnvironment): Record<string, string> {
  const entries = Object.entries(stored).map(([name, value]) => [name, openValue(vault, uid, name, value)] as const);
  return Object.fromEntries(entries);
}

/** `present`: as stored so far; a value that is the same stays as it is, so that nothing seems to have changed. */
export function sealEnvironment(
  vault: Vault,
  uid: string,
  values: Readonly<Record<string, string>>,
  present: StoredEnvironment,
): StoredEnvironment {
  const entries = Object.entries(values).map(([name, value]): [string, SealedValue] => {
    const former = Object.hasOwn(present, name) ? present[name] : undefined;
    if (typeof former === 'object' && isValue(vault, uid, name, former, value)) return [name, former];
    return [name, { sealed: vault.seal(value, contextOf(uid, name)) }];
  });
  return Object.fromEntries(entries);
}

/** Sealed by the first key of the keyring, all of it; null when it is already. Throws when no key fits. */
export function resealEnvironment(vault: Vault, uid: string, stored: StoredEnvironment): StoredEnvironment | null {
  const isCurrent = (value: string | SealedValue): boolean =>
    typeof value === 'object' && vault.isOfFirstKey(value.sealed);
  if (Object.values(stored).every(isCurrent)) return null;
  const entries = Object.entries(stored).map(([name, value]): [string, string | SealedValue] => {
    if (isCurrent(value)) return [name, value];
    return [name, { sealed: vault.seal(openValue(vault, uid, name, value), contextOf(uid, name)) }];
  });
  return Object.fromEntries(entries);
}

export function hideEnvironment(stored: StoredEnvironment): Record<string, string> {
  return Object.fromEntries(Object.keys(stored).map((name) => [name, HIDDEN_VALUE]));
}

function openValue(vault: Vault, uid: string, name: string, value: string | SealedValue): string {
  return typeof value === 'string' ? value : vault.open(value.sealed, contextOf(uid, name));
}

function isValue(vault: Vault, uid: string, name: string, stored: SealedValue, value: string): boolean {
  try {
    return openValue(vault, uid, name, stored) === value;
  } catch {
    // No key opens it any more: writing it anew is how its user repairs that.
    return false;
  }
}

/** Neither can be taken for the other, nor for a credential: uids contain no slash. */
function contextOf(uid: string, name: string): string {
  return `${uid}/environment/${name}`;
}
