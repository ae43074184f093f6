import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { errorCode } from '../core/error-code.ts';

const MAX_BYTES = 256 * 1024;

/** A file that the configuration names must be readable now, and good; what is wrong is added to `problems`. */
export function checkFile(
  path: string,
  where: string,
  problemOf: (text: string) => string | null,
  problems: string[],
): void {
  try {
    const problem = statSync(path).size > MAX_BYTES ? 'is too large' : problemOf(readFileSync(path, 'utf8'));
    if (problem !== null) problems.push(`${where}: the file ${problem}.`);
  } catch (error) {
    const code = errorCode(error) ?? 'unknown error';
    problems.push(`${where}: the file cannot be read (${code}).`);
  }
}

/** What is wrong with a file of authorities (PEM), by its first certificate; null = nothing. */
export function caProblem(text: string): string | null {
  try {
    return new X509Certificate(text).ca ? null : 'contains a certificate that is not a CA certificate';
  } catch {
    return 'contains no certificate in PEM format';
  }
}
