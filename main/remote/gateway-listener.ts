import { connect } from 'node:net';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import type { GatewayListenerConfig } from '../../config/config.ts';
import { pause } from '../../core/abort.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { CHANNEL_SOCKETS, isRemoteChannel, REMOTE_CHANNELS } from '../../core/remote-channels.ts';
import { joinSockets } from './join-sockets.ts';
import { plainAddress } from '../../proxy/socket/plain-address.ts';
import { readTlsFiles, type TlsMaterial } from './tls-files.ts';

const HANDSHAKE_MS = 10_000;
/** Feeds of workers, and the API connections that each of them keeps. */
const MAX_CONNECTIONS = 4_096;
const READ_FILES_EVERY_MS = 10_000;
const KEEP_ALIVE_MS = 15_000;

export interface GatewayListenerOptions {
  readonly config: GatewayListenerConfig;
  /** Where feed.sock and api.sock are. */
  readonly runDir: string;
  readonly log: Logger;
}

/**
 * Lets gateways that run elsewhere use the feed and the API of this control plane, until the signal aborts: TLS 1.3 with
 * certificates on both sides, told apart by ALPN, and passed on to the sockets that this machine's own workers use. A
 * gateway is trusted as those are: it receives private keys of certificates, and says which client it speaks for.
 * Rejects when it cannot listen.
 */
export async function listenForGateways(options: GatewayListenerOptions, signal: AbortSignal): Promise<void> {
  const { config, runDir, log } = options;
  const files = { ...config, caFile: config.clientCaFile };
  let material = await readTlsFiles(files);
  const sockets = new Set<TLSSocket>();
  const server = createServer({
    ...material,
    minVersion: 'TLSv1.3',
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: [...REMOTE_CHANNELS],
    handshakeTimeout: HANDSHAKE_MS,
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('tlsClientError', (error, socket) => {
    log.warn({ address: plainAddress(socket.remoteAddress), error: errorText(error) }, 'a gateway was refused');
    socket.destroy();
  });
  server.on('secureConnection', (socket) => {
    // Without a listener an error would end the process.
    socket.on('error', (error) => log.debug({ error: errorText(error) }, 'the connection of a gateway broke'));
    const channel = socket.alpnProtocol;
    const problem = isRemoteChannel(channel) ? nameProblem(socket, config.gateways) : 'it requested an unknown channel';
    if (!isRemoteChannel(channel) || problem !== null) {
      log.warn({ address: plainAddress(socket.remoteAddress), problem }, 'a gateway was refused');
      socket.destroy();
      return;
    }
    socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    joinSockets(socket, connect(join(runDir, CHANNEL_SOCKETS[channel])));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(config.address, resolve);
  });
  server.removeAllListeners('error').on('error', (error) => log.warn({ error: errorText(error) }, 'accept failed'));
  log.info({ address: server.address() }, 'accepting gateway connections');
  while (!signal.aborted) {
    await pause(READ_FILES_EVERY_MS, signal);
    const read = await readTlsFiles(files).catch((error: unknown) => errorText(error));
    material = applyIfNew(read, material, (next) => server.setSecureContext({ ...next, minVersion: 'TLSv1.3' }), log);
  }
  for (const socket of sockets) socket.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

/** Returns the material in force. Files that are incomplete or do not match each other change nothing. */
function applyIfNew(
  read: TlsMaterial | string,
  current: TlsMaterial,
  apply: (next: TlsMaterial) => void,
  log: Logger,
): TlsMaterial {
  try {
    if (typeof read === 'string') throw new Error(read);
    if (read.cert === current.cert && read.key === current.key && read.ca === current.ca) return current;
    apply(read);
    log.info({}, 'reloaded the certificate for gateways');
    return read;
  } catch (error) {
    log.warn(
      { error: errorText(error) },
      'the certificate files for gateways are unusable; the previous ones stay in use',
    );
    return current;
  }
}

function nameProblem(socket: TLSSocket, gateways: readonly string[] | null): string | null {
  if (!socket.authorized) return 'its certificate is not valid';
  if (gateways === null) return null;
  const certificate = socket.getPeerX509Certificate();
  return gateways.some((name) => certificate?.checkHost(name) !== undefined)
    ? null
    : 'its certificate contains none of the names in gatewayListener.gateways';
}
