import { lookup } from 'node:dns/promises';
import { errorCode, kindOfError } from '../../../../core/error-code.ts';
import { errorText } from '../../../../core/errors.ts';

const LOOKUP_MS = 3_000;

/** What the resolver of this machine has found, or why it has found nothing. */
export type Lookup = { readonly addresses: readonly string[] } | { readonly problem: string };

/** As clients that use getaddrinfo do. Never rejects. */
export async function lookUp(host: string): Promise<Lookup> {
  const late = new Promise<Lookup>((resolve) =>
    setTimeout(resolve, LOOKUP_MS, { problem: `no answer within ${LOOKUP_MS / 1_000} s` }).unref(),
  );
  const found = lookup(host, { all: true }).then(
    (entries): Lookup => ({ addresses: entries.map(({ address }) => address) }),
    (error: unknown): Lookup => ({
      problem: kindOfError(error) === 'no-such-name' ? 'there is no such name' : (errorCode(error) ?? errorText(error)),
    }),
  );
  return await Promise.race([found, late]);
}
