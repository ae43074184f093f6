import { connect, createServer } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createControlPort } from '../../../main/control-port/control-port.ts';
import { freePorts } from '../../support/program.ts';
import { silentLog } from '../../support/silent-log.ts';

test('of a port on every address, the API gets addresses of IPv4 clients as IPv4', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'podgate-control-port-'));
  const [port = 0] = await freePorts(1);
  const controlSocketPath = join(directory, 'control.sock');
  const lines: unknown[] = [];
  const control = createServer((socket) => {
    socket.once('data', (chunk) => {
      lines.push(JSON.parse(chunk.toString('latin1').split('\n', 1)[0] ?? ''));
      socket.end();
    });
  });
  await new Promise<void>((resolve) => control.listen(controlSocketPath, resolve));
  const controlPort = createControlPort({
    controlSocketPath,
    answer: () => ({ ok: true, message: '', detail: null }),
    maxConnections: 100,
    version: '1',
    log: silentLog,
  });
  try {
    await controlPort.listen({ host: '::', port });
    for (const host of ['127.0.0.1', '::1']) {
      await new Promise((resolve) => {
        const client = connect({ host, port }).once('close', resolve).resume();
        client.end('GET /v3/pods HTTP/1.1\r\nHost: localhost\r\n\r\n');
      });
    }
    const number = expect.any(Number) as number;
    expect(lines).toEqual([
      ['127.0.0.1', number, '127.0.0.1'],
      ['::1', number, '::1'],
    ]);
  } finally {
    controlPort.close();
    control.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
