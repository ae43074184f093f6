import { connect as connectTcp, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls';
import { errorText } from '../../../../core/errors.ts';
import { GREETINGS, parseReply, type Reply, SSL_REQUEST, type Spoken } from './spoken.ts';

const TCP_MS = 2_000;
const TLS_MS = 4_000;
const REPLY_MS = 5_000;
/** A pod that waits for its client to speak is not waited for longer. */
const SILENT_MS = 1_000;
const REPLY_MAX_BYTES = 16 * 1024;

/** Where the gateway of this replica listens. Nothing else is ever dialed here. */
export interface FrontDoor {
  readonly address: string;
  readonly port: number;
  /** It takes PROXY headers from this address: one that names no client is sent. */
  readonly takesHeader: boolean;
}

export interface ShownCertificate {
  readonly names: readonly string[];
  readonly issuer: string;
  readonly notAfterMs: number;
  /** Why it is not valid for the name; null: it is. */
  readonly nameProblem: string | null;
  /** A public CA has issued it. */
  readonly isPubliclyTrusted: boolean;
}

/** One connection to the front door. Times in ms; null: not reached. */
export interface Attempt {
  /** Its own end, by which the gateway knows it. */
  readonly address: string;
  readonly port: number;
  readonly tcpMs: number | null;
  /** From there to the end of the handshake. */
  readonly tlsMs: number | null;
  /** From there to the first byte. */
  readonly firstByteMs: number | null;
  readonly certificate: ShownCertificate | null;
  readonly reply: Reply | null;
  /** Where it got no further, and why; null: it was carried out. */
  readonly failure: { readonly step: 'tcp' | 'tls' | 'reply'; readonly reason: string } | null;
}

/** Connects as a client of `host` would, says what starts a session, and takes the first of the reply. Never rejects. */
export async function makeAttempt(
  door: FrontDoor,
  { host, port, spoken }: { readonly host: string; readonly port: number; readonly spoken: Spoken },
  signal: AbortSignal,
): Promise<Attempt> {
  const seen = {
    ...{ address: '', port: 0, tcpMs: null as number | null, tlsMs: null as number | null },
    ...{
      firstByteMs: null as number | null,
      certificate: null as ShownCertificate | null,
      reply: null as Reply | null,
    },
  };
  let step: 'tcp' | 'tls' | 'reply' = 'tcp';
  const sockets: Socket[] = [];
  try {
    const beganMs = performance.now();
    const raw = connectTcp({ host: door.address, port: door.port, noDelay: true });
    sockets.push(raw);
    await happens(raw, 'connect', TCP_MS, signal);
    seen.address = raw.localAddress ?? '';
    seen.port = raw.localPort ?? 0;
    const connectedMs = performance.now();
    seen.tcpMs = connectedMs - beganMs;
    step = 'tls';
    if (door.takesHeader) raw.write('PROXY UNKNOWN\r\n');
    if (spoken === 'postgres') await askForTls(raw, signal);
    const secure = connectTls({
      socket: raw,
      servername: host,
      // What is wrong with the certificate is reported, and nothing secret is said over this connection.
      rejectUnauthorized: false,
      ...(spoken === 'http' ? { ALPNProtocols: ['http/1.1'] } : {}),
    });
    sockets.push(secure);
    await happens(secure, 'secureConnect', TLS_MS, signal);
    const securedMs = performance.now();
    seen.tlsMs = securedMs - connectedMs;
    seen.certificate = certificateOf(secure, host);
    step = 'reply';
    const greeting = GREETINGS[spoken](port === 443 ? host : `${host}:${port}`);
    if (greeting.length > 0) secure.write(greeting);
    const { reply, firstByteMs } = await takeReply(secure, spoken, signal);
    seen.reply = reply;
    seen.firstByteMs = firstByteMs === null ? null : firstByteMs - securedMs;
    return { ...seen, failure: null };
  } catch (error) {
    return { ...seen, failure: { step, reason: errorText(error) } };
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

async function askForTls(raw: Socket, signal: AbortSignal): Promise<void> {
  raw.write(SSL_REQUEST);
  await happens(raw, 'readable', TLS_MS, signal);
  const answer: unknown = raw.read(1);
  if (!Buffer.isBuffer(answer) || answer.toString('latin1') !== 'S') throw new Error('TLS was refused');
}

/** Rejects when the socket fails or ends first, or after `ms`. */
function happens(
  socket: Socket,
  event: 'connect' | 'secureConnect' | 'readable',
  ms: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => end(new Error(`nothing within ${ms / 1_000} s`)), ms);
    const onAbort = (): void => end(new Error('given up'));
    const onEvent = (): void => end(null);
    const onClose = (): void => end(new Error('the connection was closed'));
    const end = (error: Error | null): void => {
      clearTimeout(late);
      signal.removeEventListener('abort', onAbort);
      socket.off(event, onEvent).off('close', onClose);
      if (error === null) resolve();
      else reject(error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once(event, onEvent).once('close', onClose);
    // Stays: a failure after this one is nobody's.
    socket.on('error', (error) => end(error));
  });
}

/** Ends with a complete reply, the end of the connection, or the time. */
function takeReply(
  socket: TLSSocket,
  spoken: Spoken,
  signal: AbortSignal,
): Promise<{ reply: Reply; firstByteMs: number | null }> {
  return new Promise((resolve) => {
    let bytes = Buffer.alloc(0);
    let firstByteMs: number | null = null;
    const end = (why: 'complete' | 'closed' | 'silent'): void => {
      clearTimeout(late);
      signal.removeEventListener('abort', onAbort);
      resolve({
        reply: parseReply(spoken, bytes, true) ?? { kind: why === 'closed' ? 'closed' : 'silent' },
        firstByteMs,
      });
    };
    const late = setTimeout(() => end('silent'), spoken === 'silent' ? SILENT_MS : REPLY_MS);
    const onAbort = (): void => end('silent');
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('data', (piece: Buffer) => {
      firstByteMs ??= performance.now();
      bytes = Buffer.concat([bytes, piece]);
      if (bytes.length >= REPLY_MAX_BYTES || parseReply(spoken, bytes, false) !== null) end('complete');
    });
    socket.once('end', () => end('closed')).once('close', () => end('closed'));
  });
}

function certificateOf(secure: TLSSocket, host: string): ShownCertificate | null {
  const shown = secure.getPeerCertificate();
  if (!shown.valid_to) return null;
  const { issuer, subjectaltname = '' } = shown;
  return {
    names: subjectaltname.split(', ').map((name) => name.replace(/^DNS:/, '')),
    issuer: [issuer.CN, issuer.O].flat().find((name) => name !== undefined) ?? 'unknown',
    notAfterMs: Date.parse(shown.valid_to),
    nameProblem: checkServerIdentity(host, shown)?.message ?? null,
    isPubliclyTrusted: secure.authorized,
  };
}
