import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { getSystemErrorName } from 'node:util';
import { errorCode, kindOfError } from '../../core/error-code.ts';
import { PodgateError } from '../../core/errors.ts';
import type { Config } from '../../config/config.ts';
import type { SocketKind } from '../messages.ts';

/** libuv's flags of bind (uv.h): IPv6 sockets that leave IPv4 alone, and SO_REUSEPORT. */
const UV_TCP_IPV6ONLY = 1;
const UV_TCP_REUSEPORT = 2;

/** Of IPv6 and IPv4, and of IPv4 alone. */
const EVERY_ADDRESS = '::';
const EVERY_IPV4_ADDRESS = '0.0.0.0';

/** A bound socket that is not listening yet; it can be sent to a child. */
export interface BoundSocket {
  readonly socket: SocketKind;
  readonly address: string;
  readonly port: number;
  readonly handle: Handle;
}

interface Handle {
  getsockname(out: { port?: number }): number;
  close(): void;
}

/** Not in the types, and the only way to bind without listening. */
type CreateServerHandle = (host: string, port: number, family: 4 | 6, fd: number, flags: number) => Handle | number;

export interface ListeningSockets {
  /** One set of gateway sockets for each worker, all on the same ports. */
  readonly slots: readonly (readonly BoundSocket[])[];
  readonly control: readonly BoundSocket[];
  /** `::` was asked for, and this machine's kernel has no IPv6: the sockets are those of 0.0.0.0. */
  readonly isWithoutIpv6: boolean;
  readonly ports: { readonly https: number; readonly http: number; readonly control: number };
  /** Gives up those of the gateway. A socket is closed once no worker has it any more: until then it listens. */
  closeGateway(): void;
  close(): void;
}

/**
 * Binds all sockets, once, in the process that outlives the others: it never listens, but gives each worker a socket of
 * its own on the same port (SO_REUSEPORT: the kernel spreads connections evenly). When a worker dies, a sibling takes over
 * its socket, with the connections that wait in it. Measured against node:cluster and against reusePort in the workers:
 * those lose connections when a worker is killed. `::` is 0.0.0.0 where the kernel has no IPv6. Throws PodgateError
 * 'config.invalid' naming every port that is taken.
 */
export async function openListeningSockets(config: Config): Promise<ListeningSockets> {
  const isWithoutIpv6 = config.listenHosts.includes(EVERY_ADDRESS) && !(await canBindIpv6());
  const bindable = (host: string): string => (isWithoutIpv6 && host === EVERY_ADDRESS ? EVERY_IPV4_ADDRESS : host);
  const listenHosts = config.listenHosts.map(bindable);
  const controlHost = bindable(config.controlHost);
  await probe({ ...config, listenHosts, controlHost });
  const opened: BoundSocket[] = [];
  try {
    const slots: BoundSocket[][] = [];
    let { httpsPort: https, httpPort: http } = config;
    const count = config.roles.includes('gateway') ? Math.max(1, config.workers) : 0;
    for (let slot = 0; slot < count; slot += 1) {
      const sockets: BoundSocket[] = [];
      for (const host of listenHosts) {
        const open = (socket: SocketKind, port: number, variable: string): number => {
          const bound = bind({ socket, host, port, variable }, true);
          if (bound === null) return port;
          opened.push(bound);
          sockets.push(bound);
          return bound.port;
        };
        // Port 0 is free choice for the first socket alone.
        https = open('https', https, 'PODGATE_HTTPS_PORT');
        http = open('http', http, 'PODGATE_HTTP_PORT');
        for (const { port } of config.listeners) open('https', port, LISTENERS);
      }
      slots.push(sockets);
    }
    const wanted = { host: controlHost, port: config.controlPort, variable: 'PODGATE_CONTROL_PORT' };
    const control = bind({ socket: 'control', ...wanted }, false);
    if (control === null) throw taken([{ ...wanted, code: 'EADDRNOTAVAIL' }]);
    opened.push(control);
    return {
      slots,
      control: [control],
      isWithoutIpv6,
      ports: { https, http, control: control.port },
      closeGateway() {
        for (const { handle } of opened.splice(0).filter(({ socket }) => socket !== 'control')) handle.close();
        opened.push(control);
      },
      close: () => opened.splice(0).forEach(({ handle }) => handle.close()),
    };
  } catch (error) {
    for (const { handle } of opened) handle.close();
    throw error;
  }
}

/** The configuration with the ports that were really bound. */
export function withBoundPorts(config: Config, ports: ListeningSockets['ports']): Config {
  return {
    ...config,
    httpsPort: ports.https,
    httpPort: ports.http,
    controlPort: ports.control,
    publicHttpsPort: config.publicHttpsPort === 0 ? ports.https : config.publicHttpsPort,
    publicHttpPort: config.publicHttpPort === 0 ? ports.http : config.publicHttpPort,
  };
}

/** The key of the YAML file. */
const LISTENERS = 'PODGATE_CONFIG listeners';

/** Children of a killed supervisor end within moments: wait this long for a port that they still hold. */
const TAKEN_WAIT_MS = 3_000;
const TAKEN_LOOK_MS = 100;

interface Refused {
  readonly variable: string;
  readonly host: string;
  readonly port: number;
  readonly code: string;
}

/**
 * Two programs with SO_REUSEPORT would share a port in silence, each taking half of the connections; a plain bind tells.
 * Only a socket that is listened on refuses it, so the probe listens too.
 */
async function probe(config: Config): Promise<void> {
  const wanted = [
    ...(config.roles.includes('gateway') ? config.listenHosts : []).flatMap((host) => [
      { variable: 'PODGATE_HTTPS_PORT', host, port: config.httpsPort },
      { variable: 'PODGATE_HTTP_PORT', host, port: config.httpPort },
      ...config.listeners.map(({ port }) => ({ variable: LISTENERS, host, port })),
    ]),
    { variable: 'PODGATE_CONTROL_PORT', host: config.controlHost, port: config.controlPort },
  ];
  const tryAll = async (): Promise<readonly Refused[]> => {
    const refused: Refused[] = [];
    for (const { variable, host, port } of wanted) {
      const code = await tryListening(host, port);
      if (code !== null && !isAddressMissing(host, code)) refused.push({ variable, host, port, code });
    }
    return refused;
  };
  for (let waitedMs = 0; ; waitedMs += TAKEN_LOOK_MS) {
    const refused = await tryAll();
    if (refused.length === 0) return;
    if (waitedMs >= TAKEN_WAIT_MS || refused.some(({ code }) => kindOfError(code) !== 'address-in-use'))
      throw taken(refused);
    await delay(TAKEN_LOOK_MS);
  }
}

function tryListening(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', (error) => resolve(errorCode(error) ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

/** Not where IPv6 is switched off at boot (ipv6.disable=1): then there is no such kind of socket (EAFNOSUPPORT). */
async function canBindIpv6(): Promise<boolean> {
  const code = await tryListening(EVERY_ADDRESS, 0);
  return code === null || kindOfError(code) !== 'no-such-address';
}

/** A machine without IPv6 does without ::1. */
function isAddressMissing(host: string, code: string): boolean {
  return host === '::1' && kindOfError(code) === 'no-such-address';
}

function taken(refused: readonly Refused[]): PodgateError {
  return new PodgateError('config.invalid', {
    publicMessages: refused.map(({ variable, host, port, code }) =>
      kindOfError(code) === 'address-in-use'
        ? `${variable}: port ${port} is already in use on ${host}, perhaps by another Podgate; stop that program, or set ${variable} to another port.`
        : `${variable}: port ${port} cannot be bound on ${host} (${kindOfError(code) === 'forbidden' ? `${code}: low ports are for root` : code}); choose another port or address.`,
    ),
  });
}

interface Wanted {
  readonly socket: SocketKind;
  readonly host: string;
  readonly port: number;
  /** Named in error messages: the setting to change. */
  readonly variable: string;
}

function bind({ socket, host, port, variable }: Wanted, reusePort: boolean): BoundSocket | null {
  const create = (net as unknown as { _createServerHandle: CreateServerHandle })._createServerHandle;
  const family = net.isIPv6(host) ? 6 : 4;
  // `::` is every address, those of IPv4 too: a pod of a dual-stack cluster has one of each. ::1 leaves 127.0.0.1 alone.
  const isIpv6Only = family === 6 && host !== EVERY_ADDRESS;
  const flags = (isIpv6Only ? UV_TCP_IPV6ONLY : 0) | (reusePort ? UV_TCP_REUSEPORT : 0);
  const handle = create(host, port, family, -1, flags);
  if (typeof handle === 'number') {
    const code = getSystemErrorName(handle);
    if (isAddressMissing(host, code)) return null;
    throw taken([{ variable, host, port, code }]);
  }
  const name: { port?: number } = {};
  handle.getsockname(name);
  return { socket, address: host, port: name.port ?? port, handle };
}
