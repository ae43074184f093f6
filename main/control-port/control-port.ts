import { createServer, type Server, type Socket } from 'node:net';
import { STATUS_CODES } from 'node:http';
import type { Logger } from '../../core/logger.ts';
import { splice } from '../../proxy/session/splice.ts';
import { plainAddress } from '../../proxy/socket/plain-address.ts';
import { connectTappable } from '../../proxy/bytes/tap.ts';
import { clientLine } from './client-line.ts';
import { firstRequest, type ProbePath } from './probe-request.ts';
import type { ProbeAnswer } from './probe-state.ts';

/** From accept to the first request; from then on the control process has limits of its own. */
const FIRST_REQUEST_MS = 10_000;
/** Beyond it the oldest connection that has not said what it wants makes room: probes always get through. */
const UNDECIDED_MOST = 256;
/** Passed on to the control process at a time. */
const PASSED_MOST = 1_024;
/** Calls wait for so long while the control process is started again. */
const CONTROL_AWAY_MS = 60_000;
const RETRY_MS = 100;
const ANSWER_MS = 5_000;

export interface ControlPortOptions {
  /** Where the control process listens for what is passed on. */
  readonly controlSocketPath: string;
  readonly answer: (path: ProbePath) => ProbeAnswer;
  /** Clients' connections that there are descriptors for. */
  readonly maxConnections: number;
  readonly version: string;
  readonly log: Logger;
}

export interface ControlPort {
  listen(handle: object): Promise<void>;
  close(): void;
}

/**
 * The control port: probes are answered here, from what is known already, and every other connection is passed on to the
 * control process as it is. So a busy, hung or missing control process is something that probes say, not something they
 * suffer from.
 */
export function createControlPort(options: ControlPortOptions): ControlPort {
  const { controlSocketPath, answer, maxConnections, version, log } = options;
  const undecidedMost = Math.min(UNDECIDED_MOST, Math.ceil(maxConnections / 4));
  const passedMost = Math.min(PASSED_MOST, Math.floor(maxConnections / 2));
  const servers = new Set<Server>();
  const undecided = new Set<Socket>();
  const passed = new Set<Socket>();

  function accept(client: Socket): void {
    client.on('error', () => client.destroy());
    undecided.add(client);
    for (const oldest of undecided) {
      if (undecided.size <= undecidedMost) break;
      undecided.delete(oldest);
      oldest.destroy();
    }
    const late = setTimeout(() => client.destroy(), FIRST_REQUEST_MS);
    client.once('close', () => {
      clearTimeout(late);
      undecided.delete(client);
    });
    let head = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      const request = firstRequest(head);
      if (request.kind === 'more') return;
      clearTimeout(late);
      undecided.delete(client);
      client.off('data', onData).off('end', onEnd);
      if (request.kind === 'other') passOn(client, head);
      else reply(client, answer(request.path), request.hasBody);
    };
    // Nothing that could be answered.
    const onEnd = (): void => void client.destroy();
    client.on('data', onData).on('end', onEnd);
  }

  function reply(client: Socket, { ok, message, detail }: ProbeAnswer, hasBody: boolean): void {
    const status = ok ? 200 : 503;
    const envelope = { message, metadata: {}, result: detail, status: ok ? 'success' : 'error', version };
    const body = JSON.stringify(envelope);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'Content-Type: application/json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Cache-Control: no-store',
      'Connection: close',
    ];
    client.setTimeout(ANSWER_MS, () => client.destroy());
    client.resume();
    client.end(`${head.join('\r\n')}\r\n\r\n${hasBody ? body : ''}`);
  }

  function passOn(client: Socket, head: Buffer): void {
    const { remotePort } = client;
    const remoteAddress = plainAddress(client.remoteAddress);
    const localAddress = plainAddress(client.localAddress);
    if (passed.size >= passedMost || remoteAddress === null || localAddress === null) {
      reply(client, { ok: false, message: 'Too many connections.', detail: null }, true);
      return;
    }
    client.pause();
    passed.add(client);
    client.once('close', () => passed.delete(client));
    const line = clientLine({ remoteAddress, remotePort: remotePort ?? 0, localAddress });
    const untilMs = performance.now() + CONTROL_AWAY_MS;
    const attempt = (): void => {
      if (client.destroyed) return;
      const control = connectTappable({ path: controlSocketPath, allowHalfOpen: true });
      const retry = (): void => {
        if (performance.now() < untilMs) setTimeout(attempt, RETRY_MS);
        else
          reply(
            client,
            { ok: false, message: 'The control process is unavailable. Try again soon.', detail: null },
            true,
          );
      };
      control.once('error', () => undefined).once('close', retry);
      control.once('connect', () => {
        control.off('close', retry);
        control.write(line);
        control.write(head);
        splice(client, control, () => control.destroy());
      });
    };
    attempt();
  }

  return {
    listen(handle) {
      const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, accept);
      servers.add(server);
      return new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(handle, () => {
          server.off('error', reject);
          server.on('error', (error) => log.warn({ error: error.message }, 'accept failed'));
          resolve();
        });
      });
    },
    close() {
      for (const server of servers) server.close();
      for (const client of [...undecided, ...passed]) client.destroy();
    },
  };
}
