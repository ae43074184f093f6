import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadConfig } from '../../../config/load-config.ts';
import { openListeningSockets } from '../../../main/supervisor/listening-sockets.ts';

const directory = mkdtempSync(join(tmpdir(), 'podgate-sockets-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What a client of the gateway's first socket for https comes to, by the address it dials. */
async function outcomes(host: string, dialed: readonly string[]): Promise<readonly string[]> {
  const ports = { PODGATE_HTTPS_PORT: '0', PODGATE_HTTP_PORT: '0', PODGATE_CONTROL_PORT: '0', PODGATE_WORKERS: '1' };
  const settings = { ...ports, PODGATE_HOST: host, PODGATE_ALLOW_REMOTE_PROCESS_PODS: 'yes' };
  const sockets = await openListeningSockets(loadConfig(settings, directory));
  const handle = sockets.slots[0]?.find(({ socket, address }) => socket === 'https' && address === host)?.handle;
  const server = createServer((socket) => socket.end());
  try {
    server.listen(handle);
    await once(server, 'listening');
    return await Promise.all(
      dialed.map(
        (address) =>
          new Promise<string>((resolve) => {
            const socket = connect(sockets.ports.https, address);
            socket.once('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? error.message));
            socket.once('connect', () => resolve('connected')).once('close', () => socket.destroy());
          }),
      ),
    );
  } finally {
    server.close();
    sockets.close();
  }
}

it('PODGATE_HOST=:: accepts IPv6 and IPv4 clients: a pod of a dual-stack cluster is dialed at either', async () => {
  expect(await outcomes('::', ['::1', '127.0.0.1'])).toEqual(['connected', 'connected']);
});

it('::1 is only that address', async () => {
  expect(await outcomes('::1', ['::1', '127.0.0.1'])).toEqual(['connected', 'ECONNREFUSED']);
});
