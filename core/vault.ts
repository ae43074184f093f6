/**
 * Seals secrets at rest with authenticated encryption. `context` (a pod's uid) is bound to the sealed text: what was
 * sealed for one pod cannot be opened as another's. The first key of the keyring seals, every key opens.
 * `open` throws PodgateError 'vault.cannot-open' when no key fits.
 */
export interface Vault {
  seal(plaintext: string, context: string): string;
  open(sealed: string, context: string): string;
  /** Was it sealed by the key that seals now? */
  isOfFirstKey(sealed: string): boolean;
}
