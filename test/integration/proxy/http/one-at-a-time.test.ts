import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HttpGateway, listen, POD_HOST, readUntil } from './http-gateway.ts';

/** Longer than anybody waits: only what the pool does by itself makes room. */
const UPSTREAM_IDLE_MS = 30_000;
const ANSWER_MS = 20;
const HEAD = `GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\n`;

let gateway: HttpGateway;
let pod: net.Server;
const accepted = new Set<net.Socket>();

/** Serves one connection until it closes, then the next: as Python's HTTPServer with HTTP/1.1. */
function startSerialPod(): net.Server {
  const waiting: net.Socket[] = [];
  let isBusy = false;
  const next = (): void => {
    const socket = waiting.shift();
    isBusy = socket !== undefined;
    if (socket === undefined) return;
    let text = '';
    socket.on('data', (chunk) => {
      text += String(chunk);
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        text = text.slice(end + 4);
        setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n'), ANSWER_MS);
      }
    });
    socket.on('end', () => socket.destroy()).once('close', next);
  };
  return net.createServer((socket) => {
    accepted.add(socket.on('error', () => undefined));
    waiting.push(socket);
    if (!isBusy) next();
  });
}

beforeEach(async () => {
  gateway = await HttpGateway.start({ upstreamIdleMs: UPSTREAM_IDLE_MS });
  pod = startSerialPod();
});
afterEach(async () => {
  await gateway.close();
  for (const socket of accepted) socket.destroy();
  await new Promise((resolve) => pod.close(resolve));
});

async function ask(worker = gateway): Promise<number> {
  const began = performance.now();
  const socket = await worker.connect();
  socket.write(`${HEAD}Connection: close\r\n\r\n`);
  await readUntil(socket, 'ok\n');
  socket.destroy();
  return performance.now() - began;
}

describe('a pod that serves one connection at a time', () => {
  it('serves all of its clients, even while another keeps sending requests', async () => {
    gateway.route(await listen(pod));
    const endMs = performance.now() + 3_000;
    const client = async (): Promise<readonly number[]> => {
      const took: number[] = [];
      while (performance.now() < endMs) {
        took.push(await ask());
        await delay(30);
      }
      return took;
    };
    const took = await Promise.all([client(), client(), client()]);
    expect(Math.max(...took.flat())).toBeLessThan(2_000);
    for (const each of took) expect(each.length).toBeGreaterThan(5);
  }, 60_000);

  it('serves the second client even when no more requests arrive', async () => {
    gateway.route(await listen(pod));
    const took = await Promise.all([ask(), ask(), ask()]);
    expect(Math.max(...took)).toBeLessThan(UPSTREAM_IDLE_MS / 3);
  }, 60_000);

  it('serves the clients of another worker, too, while one worker keeps its connection', async () => {
    const other = await HttpGateway.start({ upstreamIdleMs: UPSTREAM_IDLE_MS });
    gateway.notifyWorkers = (waiting) => other.protocol.makeRoom(waiting);
    other.notifyWorkers = (waiting) => gateway.protocol.makeRoom(waiting);
    const port = await listen(pod);
    gateway.route(port);
    other.route(port);
    await ask();
    expect(await ask(other)).toBeLessThan(UPSTREAM_IDLE_MS / 3);
    // And back, now with a client that goes on asking on the connection that is waited for.
    const asks = { isOver: false };
    const asking = (async () => {
      while (!asks.isOver) await ask(other);
    })();
    expect(await ask()).toBeLessThan(UPSTREAM_IDLE_MS / 3);
    asks.isOver = true;
    await asking;
    await other.close();
  }, 60_000);

  it('and gets each client on a separate connection, as the PROXY protocol requires, serves them, too', async () => {
    gateway.route(await listen(pod), { sendProxyProtocol: 'v1' });
    // Keeps its own connection to the pod, and goes on asking.
    const first = await gateway.connect();
    const asks = { isOver: false };
    const asking = (async () => {
      while (!asks.isOver) {
        first.write(`${HEAD}\r\n`);
        await readUntil(first, 'ok\n');
      }
    })();
    expect(await ask()).toBeLessThan(UPSTREAM_IDLE_MS / 3);
    asks.isOver = true;
    await asking;
    first.destroy();
  }, 60_000);
});
