const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
/** Greatest multiple of the number of letters that fits a byte: greater bytes would favour some letters. */
const FAIR_BELOW = 256 - (256 % LETTERS.length);

/** A secret of letters and digits, each equally likely (5.95 bits): fits every connection string unquoted. */
export function alphanumericSecret(length: number, randomBytes: (size: number) => Uint8Array): string {
  let secret = '';
  while (secret.length < length) {
    for (const byte of randomBytes(length)) {
      if (byte < FAIR_BELOW && secret.length < length) secret += LETTERS.charAt(byte % LETTERS.length);
    }
  }
  return secret;
}
