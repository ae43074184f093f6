import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import type { ControlPlaneConfig, HostAndPort } from '../../config/config.ts';
import { listenOnUnixSocket } from '../../control/sockets/unix-listener.ts';
import { untilAborted } from '../../core/abort.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { CHANNEL_SOCKETS, REMOTE_CHANNELS, type RemoteChannel } from '../../core/remote-channels.ts';
import { joinSockets } from './join-sockets.ts';
import { readTlsFiles } from './tls-files.ts';

/** For TCP and TLS together; then the next address is tried. */
const DIAL_MS = 3_000;
const KEEP_ALIVE_MS = 15_000;

export interface Uplink {
  /** Serves the workers' sockets until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  readonly state: UplinkState;
}

export type UplinkState =
  | { readonly kind: 'never-connected' }
  /** Feeds of this gateway's workers that pass through now. */
  | { readonly kind: 'connected'; readonly feeds: number; readonly address: string }
  | { readonly kind: 'away'; readonly sinceMs: number };

/**
 * Connects this gateway's workers to a control plane elsewhere. They use the same Unix sockets as ever, and each connection is
 * forwarded over its own TLS connection to one replica, skipping replicas that do not respond. Workers whose connection
 * breaks connect again, and keep their routes meanwhile.
 */
export function createUplink(options: {
  readonly config: ControlPlaneConfig;
  readonly runDir: string;
  readonly clock: Clock;
  readonly log: Logger;
}): Uplink {
  const { config, runDir, clock, log } = options;
  const open = new Set<Socket>();
  let state: UplinkState = { kind: 'never-connected' };
  let isTold = false;
  /** The address that answered last is tried first. */
  let preferred = Math.floor(clock.monotonicMs()) % config.addresses.length;

  async function pass(local: Socket, channel: RemoteChannel, signal: AbortSignal): Promise<void> {
    open.add(local);
    local.once('close', () => open.delete(local));
    local.on('error', () => undefined);
    const remote = await dialAny(channel, signal);
    if (remote === null || local.destroyed || signal.aborted) {
      local.destroy();
      remote?.destroy();
      return;
    }
    joinSockets(local, remote);
    if (channel !== 'podgate-feed/1') return;
    // Not before it has said something: in TLS 1.3 a certificate of ours is refused after our handshake is done.
    let isCounted = false;
    remote.once('data', () => {
      isCounted = true;
      count(remote);
    });
    remote.once('close', () => {
      if (!isCounted)
        tellOnce(['it closed the feed immediately; see its log: it may reject the certificate of this gateway']);
    });
  }

  /** Once for each outage: workers try again and again. */
  function tellOnce(problems: readonly string[]): void {
    if (!isTold) log.error({ problems }, 'no control plane can be reached; workers keep their routes');
    isTold = true;
  }

  function count(feed: TLSSocket): void {
    const { host, port } = config.addresses[preferred] ?? { host: '', port: 0 };
    const feeds = state.kind === 'connected' ? state.feeds + 1 : 1;
    state = { kind: 'connected', feeds, address: `${host}:${port}` };
    if (isTold) log.info({ address: state.address }, 'reconnected to the control plane');
    isTold = false;
    feed.once('close', () => {
      if (state.kind !== 'connected') return;
      state = state.feeds > 1 ? { ...state, feeds: state.feeds - 1 } : { kind: 'away', sinceMs: clock.now() };
    });
  }

  async function dialAny(channel: RemoteChannel, signal: AbortSignal): Promise<TLSSocket | null> {
    const { addresses } = config;
    const problems: string[] = [];
    for (let tried = 0; tried < addresses.length && !signal.aborted; tried += 1) {
      const at = (preferred + tried) % addresses.length;
      const address = addresses[at];
      if (address === undefined) break;
      try {
        const socket = await dial(config, address, channel);
        preferred = at;
        return socket;
      } catch (error) {
        problems.push(`${address.host}:${address.port}: ${errorText(error)}`);
      }
    }
    if (!signal.aborted) tellOnce(problems);
    return null;
  }

  return {
    get state() {
      return state;
    },
    async run(signal) {
      const servers = await Promise.all(
        REMOTE_CHANNELS.map(async (channel) => {
          const server = createServer((local) => void pass(local, channel, signal));
          const stopListening = await listenOnUnixSocket({ server, path: join(runDir, CHANNEL_SOCKETS[channel]), log });
          return { server, stopListening };
        }),
      );
      await untilAborted(signal);
      for (const socket of open) socket.destroy();
      for (const { server, stopListening } of servers) {
        stopListening();
        server.close();
      }
    },
  };
}

async function dial(
  config: ControlPlaneConfig,
  { host, port }: HostAndPort,
  channel: RemoteChannel,
): Promise<TLSSocket> {
  const material = await readTlsFiles(config);
  return await new Promise((resolve, reject) => {
    const socket = connect({
      ...material,
      host,
      port,
      servername: config.serverName ?? host,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [channel],
    });
    const deadline = setTimeout(
      () => socket.destroy(new Error(`no TLS handshake within ${DIAL_MS / 1_000} s`)),
      DIAL_MS,
    );
    const fail = (error: Error): void => {
      clearTimeout(deadline);
      reject(error);
    };
    socket.once('error', fail);
    socket.once('close', () => fail(new Error('closed during the handshake')));
    socket.once('secureConnect', () => {
      clearTimeout(deadline);
      socket.off('error', fail).setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
      if (socket.alpnProtocol === channel) resolve(socket);
      else socket.destroy(new Error('it is not a gateway listener of Podgate'));
    });
  });
}
