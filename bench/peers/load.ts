/**
 * node bench/peers/load.ts SCENARIO, what to do as JSON in LOAD. A load from a process of its own, over TLS 1.3; prints
 * a LoadResult. With `idle` it opens its connections, says `ready`, and holds them until its stdin ends.
 */
import { readFileSync } from 'node:fs';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { quantiles } from '../measure.ts';
import { CIPHER, GROUP } from './tls-choice.ts';

export type LoadScenario = 'echo' | 'get' | 'handshake' | 'resume' | 'down' | 'up' | 'idle';

export interface LoadOptions {
  readonly port: number;
  readonly host: string;
  readonly caFile: string;
  readonly connections: number;
  readonly seconds: number;
}

export interface LoadResult {
  /** Exchanges, or bytes of the bulk scenarios. */
  readonly operations: number;
  readonly seconds: number;
  /** Milliseconds; not of the bulk scenarios. */
  readonly median: number;
  readonly p99: number;
}

const MESSAGE = Buffer.alloc(128, 'x');
const PIECE = Buffer.alloc(65_536, 'x');

const scenario = process.argv[2] as LoadScenario;
const options = JSON.parse(process.env['LOAD'] ?? '{}') as LoadOptions;
const { port, host, connections, seconds } = options;
const GET = Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n`);
const tls: ConnectionOptions = {
  host: '127.0.0.1',
  port,
  servername: host,
  ca: readFileSync(options.caFile, 'utf8'),
  minVersion: 'TLSv1.3',
  // The same for all: which of these a server would rather have is not what is compared.
  ecdhCurve: GROUP,
  ciphers: CIPHER,
  ...(scenario === 'get' ? { ALPNProtocols: ['http/1.1'] } : {}),
};

const latencies: number[] = [];
let bytes = 0;
const startedMs = performance.now();
const endMs = startedMs + seconds * 1_000;

if (scenario === 'idle') await holdIdle();
else {
  await Promise.all(Array.from({ length: connections }, () => worker()));
  const isBulk = scenario === 'down' || scenario === 'up';
  const result: LoadResult = {
    operations: isBulk ? bytes : latencies.length,
    seconds: (performance.now() - startedMs) / 1_000,
    ...(isBulk ? { median: 0, p99: 0 } : quantiles(latencies)),
  };
  process.stdout.write(JSON.stringify(result));
}

async function worker(): Promise<void> {
  switch (scenario) {
    case 'echo': {
      await exchanges(MESSAGE, () => MESSAGE.length);
      return;
    }
    case 'get': {
      await exchanges(GET, answerLength);
      return;
    }
    case 'handshake':
      while (performance.now() < endMs) await oneHandshake(undefined);
      return;
    case 'resume': {
      const session = await freshSession();
      while (performance.now() < endMs) await oneHandshake(session);
      return;
    }
    case 'down': {
      await down();
      return;
    }
    case 'up': {
      await up();
      return;
    }
    case 'idle':
      return;
  }
}

/** One exchange after the other on one connection. `lengthOf` answers -1 while an answer's length is not known. */
function exchanges(message: Buffer, lengthOf: (received: Buffer) => number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(tls);
    socket.setNoDelay(true);
    let sentMs = 0;
    let received: Buffer = Buffer.alloc(0);
    const send = (): void => {
      sentMs = performance.now();
      socket.write(message);
    };
    socket.once('secureConnect', send);
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const length = lengthOf(received);
      if (length < 0 || received.length < length) return;
      received = Buffer.alloc(0);
      const nowMs = performance.now();
      latencies.push(nowMs - sentMs);
      if (nowMs < endMs) send();
      else socket.end();
    });
  });
}

function answerLength(received: Buffer): number {
  const head = received.indexOf('\r\n\r\n');
  if (head < 0) return -1;
  const text = received.toString('latin1', 0, head);
  const length = /content-length: (\d+)/i.exec(text)?.[1];
  if (length === undefined || !text.startsWith('HTTP/1.1 200')) throw new Error(`unexpected answer: ${text}`);
  return head + 4 + Number(length);
}

/** Connects, exchanges one message and closes; the time is that of all of it. */
function oneHandshake(session: Buffer | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const beganMs = performance.now();
    const socket = connect(session === undefined ? tls : { ...tls, session });
    socket.setNoDelay(true);
    socket.once('secureConnect', () => {
      if (session !== undefined && !socket.isSessionReused()) socket.destroy(new Error('the session was not resumed'));
      else socket.write(MESSAGE);
    });
    let received = 0;
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received < MESSAGE.length) return;
      latencies.push(performance.now() - beganMs);
      socket.end();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve());
  });
}

function freshSession(): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(tls);
    socket.once('secureConnect', () => socket.write(MESSAGE));
    socket.once('session', (session: Buffer) => {
      resolve(session);
      socket.end();
    });
    socket.resume();
    socket.on('error', reject);
  });
}

function down(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(tls);
    socket.once('secureConnect', () => socket.write('D'));
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (performance.now() >= endMs) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve());
  });
}

function up(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(tls);
    const send = (): void => {
      if (performance.now() >= endMs) {
        socket.destroy();
        return;
      }
      socket.write(PIECE, (error) => {
        if (error) return;
        bytes += PIECE.length;
        send();
      });
    };
    socket.once('secureConnect', () => {
      socket.write('U');
      send();
      send();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve());
  });
}

async function holdIdle(): Promise<void> {
  const sockets: TLSSocket[] = [];
  const AT_ONCE = 50;
  const open = async (): Promise<void> => {
    while (sockets.length < connections) {
      await new Promise<void>((resolve, reject) => {
        const socket = connect(tls);
        sockets.push(socket);
        socket.once('secureConnect', () => socket.write(MESSAGE));
        socket.once('data', () => resolve());
        socket.on('error', reject);
        socket.on('close', () => reject(new Error(`connection ${sockets.length} was closed`)));
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, open));
  process.stdout.write('ready');
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}
