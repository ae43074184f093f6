import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';

import { createApplication } from '../../../control/http/application.ts';
import type { Operation } from '../../../control/http/operation.ts';
import { PodgateError } from '../../../core/errors.ts';
import { silentLog } from '../../support/silent-log.ts';

const IDLE_MS = 100;
const NEVER = new Promise<never>(() => undefined);
const OPEN = { tag: 'Test', summary: 'For tests.', result: z.unknown() } as const;

/** More than what is made before the head of a response is sent. */
const LONG = 'x'.repeat(70_000);

async function* stalling(first: string): AsyncGenerator<string> {
  yield `["${first}"`;
  await NEVER;
}

const OPERATIONS: readonly Operation[] = [
  {
    ...OPEN,
    access: 'open',
    operationId: 'upload',
    methods: ['post'],
    path: '/upload',
    body: z.object({}),
    limits: { bodyBytes: 1_000_000, bodyTimeoutMs: 600_000, idleMs: IDLE_MS },
    handle: async ({ body }) => ({ kind: 'json', message: 'Received.', result: body }),
  },
  {
    ...OPEN,
    access: 'open',
    operationId: 'stall',
    methods: ['get'],
    path: '/stall/{where}',
    limits: { idleMs: IDLE_MS },
    handle: async ({ params }) => {
      const pieces = stalling(params['where'] === 'later' ? LONG : 'first');
      if (params['where'] === 'first') await pieces.next();
      return { kind: 'json-pieces', message: 'Begun.', pieces };
    },
  },
];

let server: Server;
let sockets: Socket[] = [];

beforeEach(async () => {
  const application = createApplication(OPERATIONS, {
    authenticator: { authenticate: () => Promise.reject(new PodgateError('api.unauthenticated')) },
    version: '1.2.3',
    reserved: { collection: 'none', ids: new Set(), notFound: () => new PodgateError('api.not-found') },
    controlHosts: new Set(['localhost']),
    monotonicMs: () => performance.now(),
    log: silentLog,
  });
  expect(application.serverOptions.requestTimeout).toBeGreaterThan(600_000);
  server = createServer(application.serverOptions, application.listenerFor('control-port'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** All that the server sends until it closes the connection. */
function exchange(request: string): Promise<string> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  sockets.push(socket);
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  socket.write(request);
  return new Promise((resolve, reject) => {
    socket.once('close', () => resolve(text)).once('error', reject);
  });
}

test('a request body that stalls is rejected long before its time limit', async () => {
  const text = await exchange('POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{');
  expect(text).toMatch(/^HTTP\/1\.1 408 /);
  expect(text).toContain('Connection: close');
});

test('a short response that stalls returns an error', async () => {
  const text = await exchange('GET /stall/early HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  expect(text).toMatch(/^HTTP\/1\.1 500 /);
  expect(text).not.toContain('first');
});

test('a response whose first chunk does not arrive returns an error', async () => {
  const text = await exchange('GET /stall/first HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  expect(text).toMatch(/^HTTP\/1\.1 500 /);
});

test('a response that stalls midway is aborted, so that it cannot be mistaken for a complete one', async () => {
  const text = await exchange('GET /stall/later HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(text).toMatch(/^HTTP\/1\.1 200 /);
  expect(text).toContain(LONG);
  expect(text).not.toContain('"version"');
});

test('a body that no operation reads does not keep the connection open', async () => {
  const text = await exchange('GET /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{');
  expect(text).toMatch(/^HTTP\/1\.1 404 /);
  expect(text).toContain('Connection: close');
});
