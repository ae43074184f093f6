import { randomInt } from 'node:crypto';
import { connect as connectHttp2, type ClientHttp2Session, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { realHello } from '../../support/client-hellos.ts';
import { holdConnections } from '../../support/held-connections.ts';
import { until } from '../../support/until.ts';
import type { Attack } from '../attack.ts';
import { ECHO_WITHOUT_END, LARGE, WEBSOCKET_WITHOUT_END } from '../programs.ts';
import { pause, type Stage } from '../stage.ts';

const OWNER = 'alice';
const UPGRADE =
  'GET /ws HTTP/1.1\r\nHost: NAME\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

const tcp = { default: { protocol: 'tcp', port: 7_000 } };

/** Sessions of the pod, as its owner sees them. */
async function sessionsNow(stage: Stage, user: string, podId: string): Promise<number> {
  const { body } = await stage.api(user, 'GET', `/v3/pods/${podId}/connections`);
  return Number((body.result as { sessions_now?: unknown } | null)?.sessions_now);
}

const bareConnections: Attack = {
  name: 'bare-connections',
  summary: 'more TCP connections than Podgate may open files',
  program: { openFiles: 1_024 },
  async run(stage, scale) {
    const { httpsPort: port } = stage.program;
    const count = scale === 'full' ? 5_000 : 2_600;
    const sockets: Socket[] = [];
    for (let at = 0; at < count; at += 1) {
      const socket = connect({
        host: '127.0.0.1',
        port,
        localAddress: `127.1.${Math.floor(at / 250)}.${(at % 250) + 1}`,
      });
      sockets.push(socket.on('error', () => undefined));
      if (at % 100 === 99) await pause(20);
    }
    await pause(5_000);
    for (const socket of sockets) socket.destroy();
    await until(
      'a new session after the attack',
      async () => (await stage.exchange('hello.pods.localhost', GET_HELLO)) !== '',
    );
    return { connections: count };
  },
};
const GET_HELLO = 'GET / HTTP/1.1\r\nHost: hello.pods.localhost\r\nConnection: close\r\n\r\n';

const halfOpen: Attack = {
  name: 'half-open',
  summary: 'many addresses begin handshakes and never finish them',
  async run(stage, scale) {
    const held = await holdConnections({
      port: stage.program.httpsPort,
      count: scale === 'full' ? 15_000 : 1_500,
      addresses: 200,
      atOnce: 50,
      mode: 'half-open',
      host: 'localhost',
      caFile: null,
    });
    await pause(scale === 'full' ? 12_000 : 3_000);
    await held.close();
    return { opened: held.opened };
  },
};

const vanished: Attack = {
  name: 'vanished-clients',
  summary: 'clients of TCP and WebSocket sessions close and are gone; the pod never closes its side',
  program: { configuration: { limits: { halfClosedMs: 2_000 } } },
  async run(stage, scale) {
    const count = scale === 'full' ? 200 : 40;
    await stage.createPod(OWNER, {
      pod_id: 'deaf',
      pod_template: 'podgate/process',
      command: ECHO_WITHOUT_END,
      networking: tcp,
    });
    await stage.createPod(OWNER, {
      pod_id: 'websocket',
      pod_template: 'podgate/process',
      command: WEBSOCKET_WITHOUT_END,
    });
    const sessions: readonly (readonly [string, string])[] = [
      ['deaf', 'a word'],
      ['websocket', UPGRADE.replace('NAME', 'websocket.pods.localhost')],
    ];
    for (const [podId, words] of sessions) {
      for (let at = 0; at < count; at += 1) {
        const socket = await stage.connect(`${podId}.pods.localhost`);
        if (socket === null) throw new Error(`no connection to ${podId}`);
        socket.write(words);
        await new Promise((resolve) => socket.once('data', resolve).once('close', resolve));
        socket.end();
      }
    }
    const startedMs = performance.now();
    for (const [podId] of sessions) {
      await until(`no session of ${podId} is left`, async () => (await sessionsNow(stage, OWNER, podId)) === 0, {
        timeoutMs: 30_000,
        everyMs: 500,
      });
    }
    await stage.deletePods(OWNER, 'deaf', 'websocket');
    return { sessions: 2 * count, 'all gone after s': ((performance.now() - startedMs) / 1_000).toFixed(1) };
  },
};

function openHttp2(stage: Stage, servername: string, settings: object = {}): Promise<ClientHttp2Session> {
  const { httpsPort, ca } = stage.program;
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`https://${servername}:${httpsPort}`, {
      ca,
      servername,
      host: '127.0.0.1',
      settings,
      ...LOCAL,
    });
    session.once('connect', () => resolve(session)).on('error', reject);
  });
}
/** Loopback whatever the resolver says; from an address that no bystander has. */
const LOCAL = {
  localAddress: '127.0.0.2',
  lookup: (_: string, __: object, found: (error: null, all: object) => void) =>
    found(null, [{ address: '127.0.0.1', family: 4 }]),
};

const stalledStreams: Attack = {
  name: 'stalled-streams',
  summary: 'HTTP/2 connections request large responses with a window of zero',
  program: { configuration: { limits: { connectionsPerPod: 200, connectionsPerAddress: 100 } } },
  async run(stage, scale) {
    await stage.createPod(OWNER, { pod_id: 'large', pod_template: 'podgate/process', command: LARGE });
    const sessions: ClientHttp2Session[] = [];
    const connections = scale === 'full' ? 10 : 3;
    for (let at = 0; at < connections; at += 1) {
      const session = await openHttp2(stage, 'large.pods.localhost', { initialWindowSize: 0 });
      sessions.push(session);
      for (let stream = 0; stream < 100; stream += 1)
        session.request({ ':path': '/large' }).on('error', () => undefined);
    }
    await pause(1_000);
    const request = 'GET / HTTP/1.1\r\nHost: large.pods.localhost\r\nConnection: close\r\n\r\n';
    await until(
      'another client reaches the pod',
      async () => (await stage.exchange('large.pods.localhost', request)).includes(' 200 '),
      {
        timeoutMs: 60_000,
        everyMs: 500,
      },
    );
    for (const session of sessions) session.destroy();
    await stage.deletePods(OWNER, 'large');
    return { streams: connections * 100 };
  },
};

const resetStreams: Attack = {
  name: 'reset-streams',
  summary: 'HTTP/2 streams opened and reset at once (rapid reset)',
  async run(stage, scale) {
    const untilMs = performance.now() + (scale === 'full' ? 15_000 : 3_000);
    let opened = 0;
    let ended = 0;
    const flood = async (): Promise<void> => {
      while (performance.now() < untilMs) {
        const session = await openHttp2(stage, 'hello.pods.localhost').catch(() => null);
        if (session === null) continue;
        session.on('error', () => undefined);
        for (let stream = 0; stream < 2_000 && !session.destroyed && !session.closed; stream += 1) {
          session
            .request({ ':path': '/' })
            .on('error', () => undefined)
            .close(constants.NGHTTP2_CANCEL);
          opened += 1;
          if (stream % 50 === 49) await new Promise((resolve) => setImmediate(resolve));
        }
        if (session.destroyed || session.closed) ended += 1;
        session.destroy();
      }
    };
    await Promise.all([flood(), flood()]);
    return { 'streams opened': opened, 'connections ended by the gateway': ended };
  },
};

const brokenHellos: Attack = {
  name: 'broken-hellos',
  summary: 'ClientHellos with random bytes changed, cut or repeated',
  async run(stage, scale) {
    const hello = await realHello({ servername: 'hello.pods.localhost', ALPNProtocols: ['h2', 'http/1.1'] });
    const count = scale === 'full' ? 20_000 : 1_000;
    const ends: Record<string, number> = {};
    const one = async (): Promise<void> => {
      const broken = Buffer.from(hello);
      for (let change = randomInt(1, 8); change > 0; change -= 1) broken[randomInt(broken.length)] = randomInt(256);
      const end = await sendRaw(
        stage.program.httpsPort,
        randomInt(4) === 0 ? broken.subarray(0, randomInt(1, broken.length)) : broken,
      );
      ends[end] = (ends[end] ?? 0) + 1;
    };
    const work = async (): Promise<void> => {
      for (let at = 0; at < count / 20; at += 1) await one();
    };
    await Promise.all(Array.from({ length: 20 }, work));
    return ends;
  },
};

/** How the gateway responds to these first bytes, after which the client closes its side. */
function sendRaw(port: number, bytes: Buffer): Promise<'alert' | 'handshake' | 'closed' | 'open'> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true }, () => socket.end(bytes));
    const end = (how: 'alert' | 'handshake' | 'closed' | 'open'): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(how);
    };
    const timer = setTimeout(() => end('open'), 5_000);
    socket.once('data', (data) => end(data[0] === 21 ? 'alert' : 'handshake'));
    socket.on('error', () => end('closed')).once('end', () => end('closed'));
  });
}

const hung = (role: 'worker' | 'control'): Attack => ({
  name: `hung-${role}`,
  summary: `a ${role === 'worker' ? 'gateway worker' : 'control child'} hangs (SIGSTOP)`,
  replaces: role,
  async run(stage) {
    const victim = stage.program.children(role)[0];
    if (victim === undefined) throw new Error(`there is no ${role}`);
    const startedMs = performance.now();
    process.kill(victim.pid, 'SIGSTOP');
    await until(
      `the ${role} is replaced`,
      () => {
        const pids = stage.program.children(role).map(({ pid }) => pid);
        return pids.length >= (role === 'worker' ? 2 : 1) && !pids.includes(victim.pid);
      },
      { timeoutMs: 60_000, everyMs: 100 },
    );
    const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
    await stage.program.ready();
    return { 'replaced after s': seconds };
  },
});

export const CONNECTION_ATTACKS: readonly Attack[] = [
  halfOpen,
  resetStreams,
  brokenHellos,
  stalledStreams,
  vanished,
  hung('worker'),
  hung('control'),
  bareConnections,
];
