import { match, needMore, type Parsed } from '../bytes/parsed.ts';
import type { ProxyHeader } from './proxy-header.ts';
import { parseVersion1, VERSION_1_SIGNATURE } from './version-1.ts';
import { parseVersion2, VERSION_2_SIGNATURE } from './version-2.ts';

/**
 * The PROXY header, of version 1 or 2, at the start of `bytes`; 'absent' when they begin with anything else
 * (proxy-protocol.txt of HAProxy, 2020/03/05). Call this only for connections from a trusted sender.
 */
export function parseProxyHeader(bytes: Buffer): Parsed<ProxyHeader | 'absent'> {
  if (bytes.length === 0) return needMore(1);
  if (begins(bytes, VERSION_1_SIGNATURE)) {
    return bytes.length < VERSION_1_SIGNATURE.length ? needMore(bytes.length + 1) : parseVersion1(bytes);
  }
  if (begins(bytes, VERSION_2_SIGNATURE)) {
    return bytes.length < VERSION_2_SIGNATURE.length ? needMore(bytes.length + 1) : parseVersion2(bytes);
  }
  return match('absent');
}

/** Whether an untrusted sender sent one. Reported separately from other garbage: usually a setting is missing. */
export function looksLikeProxyHeader(bytes: Buffer): boolean {
  return [VERSION_1_SIGNATURE, VERSION_2_SIGNATURE].some(
    (signature) => bytes.length >= signature.length && begins(bytes, signature),
  );
}

/** Compares the bytes that both have. */
function begins(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.compare(signature, 0, length, 0, length) === 0;
}
