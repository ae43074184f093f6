// HTTP, and WebSockets that echo; misbehaves on request: /eat?mb=, /exit?code=, /write?file=&bytes=, /fetch?url=, /noise?lines=, /slow?ms=.
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers';

const WEBSOCKET = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const kept = [];
const deeds = {
  '/eat'({ mb = 100 }) {
    for (let eaten = 0; eaten < Number(mb); eaten += 10) setTimeout(() => kept.push(Buffer.alloc(10e6, 1)), eaten);
    return 'eating\n';
  },
  '/exit'({ code = 1 }) {
    setTimeout(() => process.exit(Number(code)), 50);
    return 'bye\n';
  },
  '/write'({ file, bytes = 1 }) {
    for (let left = Number(bytes); left > 0; left -= 1e6) appendFileSync(file, Buffer.alloc(Math.min(left, 1e6), 'x'));
    return 'written\n';
  },
  async '/fetch'({ url }) {
    const answer = await globalThis.fetch(url, { signal: globalThis.AbortSignal.timeout(4_000) });
    return `${answer.status} ${(await answer.text()).slice(0, 200)}\n`;
  },
  '/noise'({ lines = 1_000 }) {
    for (let line = 0; line < Number(lines); line += 1) console.log(`line ${line} ${'n'.repeat(80)}`);
    return 'noise\n';
  },
  '/slow': ({ ms = 1_000 }) => new Promise((resolve) => setTimeout(resolve, Number(ms), 'slow\n')),
  '/env': () => JSON.stringify(process.env),
};

const server = createServer(async (incoming, response) => {
  const { pathname, searchParams } = new URL(incoming.url, 'http://trial');
  const { method, url, headers } = incoming;
  const whoAmI = () =>
    `${JSON.stringify({ pod: process.env.HOSTNAME, uid: process.getuid(), method, url, headers })}\n`;
  try {
    response.end(await (deeds[pathname] ?? whoAmI)(Object.fromEntries(searchParams)));
  } catch (error) {
    response.writeHead(500).end(`${error} ${error.cause ?? ''}\n`);
  }
});

server.on('upgrade', (incoming, socket) => {
  const accept = createHash('sha1')
    .update(incoming.headers['sec-websocket-key'] + WEBSOCKET)
    .digest('base64');
  const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
  socket.write([...head, `Sec-WebSocket-Accept: ${accept}`, '', ''].join('\r\n'));
  let rest = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    // Short masked frames alone: RFC 6455, section 5.2.
    while (rest.length >= 6 && rest.length >= 6 + (rest[1] & 127)) {
      const length = rest[1] & 127;
      const [opcode, mask] = [rest[0] & 15, rest.subarray(2, 6)];
      const payload = Buffer.from(rest.subarray(6, 6 + length).map((byte, index) => byte ^ mask[index & 3]));
      rest = rest.subarray(6 + length);
      socket.write(Buffer.concat([Buffer.from([0x80 | (opcode === 9 ? 10 : opcode), length]), payload]));
      if (opcode === 8) socket.end();
    }
  });
});

server.listen(Number(process.env.PORT ?? 8080), '0.0.0.0', () => console.log('trial listens'));
process.on('SIGTERM', () => {
  console.log('SIGTERM');
  server.close();
  setTimeout(() => process.exit(0), Number(process.env.LINGER_MS ?? 200));
});
