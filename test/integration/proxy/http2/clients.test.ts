import { X509Certificate, createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../../support/run.ts';
import { HttpGateway, POD_HOST } from '../http/http-gateway.ts';

/** A page that says which protocol its own script's request came by, and what its WebSocket heard. */
const PAGE = `<!doctype html><title>p</title><body>waiting<script>
const heard = new Promise((resolve) => {
  new WebSocket(location.href.replace('https:', 'wss:')).onmessage = ({ data }) => resolve(data);
});
fetch('/data').then((answer) => answer.text()).then(async (text) => {
  const entry = performance.getEntriesByName(new URL('/data', location.href).href)[0];
  document.body.textContent = text + ' by ' + entry.nextHopProtocol + ', heard ' + (await heard);
});
</script>`;

describe('over HTTP/2', () => {
  let gateway: HttpGateway;
  let pod: Server;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'podgate-clients-'));
    gateway = await HttpGateway.start();
    pod = createServer((request, response) => {
      if (request.method === 'POST') {
        let bytes = 0;
        request.on('data', (chunk: Buffer) => (bytes += chunk.length)).on('end', () => response.end(`got ${bytes}`));
      } else if (request.url === '/page') response.writeHead(200, { 'Content-Type': 'text/html' }).end(PAGE);
      else response.end('data');
    });
    pod.on('upgrade', ({ headers }: IncomingMessage, socket: Socket) => {
      const accept = createHash('sha1')
        .update(`${headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest('base64');
      socket
        .on('error', () => undefined)
        .resume()
        .once('end', () => socket.end());
      socket.write(
        `HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      // One frame of text.
      socket.write(Buffer.concat([Buffer.from([0x81, 5]), Buffer.from('hello')]));
    });
    await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
    gateway.route((pod.address() as AddressInfo).port);
  });
  afterAll(async () => {
    await gateway.close();
    pod.closeAllConnections();
    await new Promise((resolve) => pod.close(resolve));
    rmSync(directory, { recursive: true });
  });

  const url = (path: string): string => `https://${POD_HOST}:${gateway.port}${path}`;

  it('curl downloads, uploads, and gets a refusal', async () => {
    const body = join(directory, 'body');
    writeFileSync(body, Buffer.alloc(5_000_000));
    const curl = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
      run('curl', [
        ...['-sS', '--http2', '--cacert', gateway.caPath, '-w', ' HTTP/%{http_version} %{http_code}'],
        ...['--resolve', `*:${gateway.port}:127.0.0.1`, ...args],
      ]);
    expect((await curl(url('/'))).stdout).toBe('data HTTP/2 200');
    expect((await curl('--data-binary', `@${body}`, url('/'))).stdout).toBe('got 5000000 HTTP/2 200');
    expect((await curl('-T', body, '-X', 'POST', url('/'))).stdout).toBe('got 5000000 HTTP/2 200');
    const refused = await curl(`https://nobody.pods.localhost:${gateway.port}/`);
    expect(refused.stdout).toMatch(/No pod has the host name nobody\.pods\.localhost.* HTTP\/2 404$/s);
  });

  it('h2load gets responses to all of its requests, many at a time', async () => {
    const { stdout } = await run('h2load', ['-n', '3000', '-c', '10', '-m', '50', url('/')]);
    expect(stdout).toContain('3000 succeeded, 0 failed, 0 errored');
  });

  it(
    'Chromium shows a page whose script is served by HTTP/2, and its WebSocket works',
    { timeout: 180_000 },
    async () => {
      const spoken: unknown[] = [];
      gateway.onSocket = (socket, accept) => {
        spoken.push(socket.alpnProtocol);
        accept();
      };
      const key = new X509Certificate(gateway.authority.certificate).publicKey.export({ type: 'spki', format: 'der' });
      const browser = await launch({
        executablePath: '/usr/bin/chromium',
        userDataDir: `${directory}/profile`,
        timeout: 60_000,
        args: [
          ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
          `--host-resolver-rules=MAP *.localhost 127.0.0.1`,
          // This key alone is trusted, by nobody else.
          `--ignore-certificate-errors-spki-list=${createHash('sha256').update(key).digest('base64')}`,
        ],
      });
      try {
        const page = await browser.newPage();
        await page.goto(url('/page'));
        const shown = (): Promise<unknown> => page.evaluate('document.body.textContent');
        await expect.poll(shown, { timeout: 30_000 }).toBe('data by h2, heard hello');
      } finally {
        await browser.close();
      }
      expect(new Set(spoken)).toEqual(new Set(['h2']));
    },
  );
});
