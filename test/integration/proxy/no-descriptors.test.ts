import { closeSync, openSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { type DialedBackend, dialBackend } from '../../../proxy/session/dial-backend.ts';
import { HttpGateway, POD_HOST, readUntil } from './http/http-gateway.ts';

const RLIMIT_NOFILE = 7;
const { functions: libc } = process.getBuiltinModule('node:ffi').dlopen(null, {
  getrlimit: { arguments: ['i32', 'buffer'], return: 'i32' },
  setrlimit: { arguments: ['i32', 'buffer'], return: 'i32' },
});

/** Runs `work` while this process can open no further descriptor. */
async function withoutDescriptors<T>(work: () => Promise<T>): Promise<T> {
  const before = Buffer.alloc(16);
  expect(libc.getrlimit(RLIMIT_NOFILE, before)).toBe(0);
  const lowestFree = openSync('/dev/null', 'r');
  closeSync(lowestFree);
  const lowered = Buffer.from(before);
  lowered.writeBigUInt64LE(BigInt(lowestFree), 0);
  expect(libc.setrlimit(RLIMIT_NOFILE, lowered)).toBe(0);
  try {
    return await work();
  } finally {
    libc.setrlimit(RLIMIT_NOFILE, before);
  }
}

test('a dial without a free file descriptor is not reported as the pod’s fault: TCP and Postgres', async () => {
  const backend = { uid: 'uid-1', address: '127.0.0.1', port: 1, service: null };
  const dial = (): Promise<DialedBackend> => dialBackend(new PassThrough(), () => backend, 0);
  expect(await withoutDescriptors(dial)).toEqual({ kind: 'refused', code: 'route.no-descriptors' });
  expect(await dial()).toEqual({ kind: 'refused', code: 'route.unreachable' });
});

test('a dial without a free file descriptor is not reported as the pod’s fault: HTTP', async () => {
  const gateway = await HttpGateway.start();
  const pod = createServer((_request, response) => response.end('served'));
  await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
  gateway.route((pod.address() as AddressInfo).port);
  const client = await gateway.connect();
  const ask = (end: string): Promise<string> => {
    client.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    return readUntil(client, end);
  };
  const refused = await withoutDescriptors(() => ask('route.no-descriptors'));
  expect(refused).toMatch(/^HTTP\/1\.1 503 [\s\S]*out of file descriptors/);
  expect(await ask('served')).toContain('HTTP/1.1 200 ');
  client.destroy();
  await gateway.close();
  pod.closeAllConnections();
  await new Promise((resolve) => pod.close(resolve));
});
