import type { Socket } from 'node:net';
import type { ClosedReason } from '../connection/ends.ts';
import { looksLikeProxyHeader } from '../proxy-protocol/parse-proxy-header.ts';
import { parseClientHello, type ClientHello } from './client-hello.ts';
import { classifyFirstBytes } from './first-bytes.ts';
import { match, needMore, reject, type Parsed } from '../bytes/parsed.ts';
import { peekBytes } from '../bytes/peek-bytes.ts';

/** What a new connection turned out to be. All its bytes but answered requests are still in the socket. */
export type Sniffed =
  | {
      readonly kind: 'tls';
      readonly hello: ClientHello;
      /** It asked with SSLRequest before: it will speak Postgres. */
      readonly askedAsPostgres: boolean;
    }
  /** TLS that starts wrong: the TLS engine, or we where it is too large for that, say so with an alert. */
  | { readonly kind: 'malformed-hello' | 'oversized-hello' }
  /** Plaintext that gets an answer in its own protocol. */
  | { readonly kind: 'startup-message' | 'cancel-request' | 'http' | 'bolt' }
  | { readonly kind: 'closed'; readonly reason: ClosedReason };

/** What was answered so far: each request for encryption once. */
export interface Negotiated {
  readonly ssl: boolean;
  readonly gssenc: boolean;
}

export type SniffStep = Sniffed | { readonly kind: 'answer'; readonly answer: 'S' | 'N'; readonly next: Negotiated };

const ENCRYPTION_REQUEST_BYTES = 8;

/** What to do about the bytes of a new connection so far. Pure. */
export function planSniff(bytes: Buffer, negotiated: Negotiated): Parsed<SniffStep, ClosedReason> {
  const first = classifyFirstBytes(bytes);
  if (first === 'need-more') return needMore(bytes.length + 1);
  if (first === 'tls') return planTls(bytes, negotiated);
  // After our `S` only TLS may follow.
  if (negotiated.ssl) return reject('unrecognized');
  switch (first) {
    case 'ssl-request':
      // Bytes sent before our answer would be plaintext taken for encrypted ones (CVE-2021-23214).
      return bytes.length > ENCRYPTION_REQUEST_BYTES
        ? reject('early-bytes')
        : match({ kind: 'answer', answer: 'S', next: { ...negotiated, ssl: true } });
    case 'gssenc-request':
      return negotiated.gssenc
        ? reject('unrecognized')
        : match({ kind: 'answer', answer: 'N', next: { ...negotiated, gssenc: true } });
    case 'http':
      return looksLikeProxyHeader(bytes) ? reject('untrusted-proxy-header') : match({ kind: first });
    case 'cancel-request':
    case 'startup-message':
    case 'bolt':
      return match({ kind: first });
    case 'unknown':
      return reject(looksLikeProxyHeader(bytes) ? 'untrusted-proxy-header' : 'unrecognized');
  }
}

function planTls(bytes: Buffer, negotiated: Negotiated): Parsed<SniffStep, ClosedReason> {
  const hello = parseClientHello(bytes);
  if (hello.kind === 'reject') {
    return match({ kind: hello.reason === 'too-large' ? 'oversized-hello' : 'malformed-hello' });
  }
  if (hello.kind === 'need-more') return hello;
  return match({ kind: 'tls', hello: hello.value, askedAsPostgres: negotiated.ssl });
}

/** Finds out what a new connection is, answering requests for encryption on the way. The deadline is the caller's. */
export function sniff(socket: Socket, done: (sniffed: Sniffed) => void): void {
  const step = (negotiated: Negotiated): void => {
    peekBytes(
      socket,
      (bytes) => planSniff(bytes, negotiated),
      (outcome) => {
        if (outcome.kind === 'ended') {
          done({ kind: 'closed', reason: 'ended-early' });
        } else if (outcome.kind === 'reject') {
          done({ kind: 'closed', reason: outcome.reason });
        } else if (outcome.value.kind === 'answer') {
          socket.read(ENCRYPTION_REQUEST_BYTES);
          socket.write(outcome.value.answer);
          step(outcome.value.next);
        } else {
          done(outcome.value);
        }
      },
    );
  };
  step({ ssl: false, gssenc: false });
}
