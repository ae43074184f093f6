import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { afterEach } from 'vitest';
import { makeCertificate } from './certificate.ts';
import { startGateway, type FixtureOptions, type GatewayFixture } from './gateway-fixture.ts';
import { startBackend, type Backend } from './streams.ts';

export const certificate = makeCertificate(['localhost', '*.pods.localhost']);
export const BOLT_HELLO = Buffer.from('6060b017000001ff000808050002040400000003', 'hex');

export interface Stage {
  readonly start: (options: Omit<FixtureOptions, 'certificate'>) => Promise<GatewayFixture>;
  /** A backend that says everything back. */
  readonly echo: () => Promise<Backend>;
  readonly backends: Backend[];
}

/** Gateways and backends of one test each, stopped after it. Call it at the top of a test file. */
export function createStage(): Stage {
  const fixtures: GatewayFixture[] = [];
  const backends: Backend[] = [];
  afterEach(async () => {
    for (const fixture of fixtures.splice(0)) await fixture.stop();
    for (const backend of backends.splice(0)) await backend.close();
  });
  return {
    backends,
    async start(options) {
      const fixture = await startGateway({ certificate, ...options });
      fixtures.push(fixture);
      return fixture;
    },
    async echo() {
      const backend = await startBackend((socket) => socket.pipe(socket));
      backends.push(backend);
      return backend;
    },
  };
}

export async function echoes(client: TLSSocket, word = 'word'): Promise<boolean> {
  client.write(word);
  const [data] = (await once(client, 'data')) as [Buffer];
  return data.toString() === word;
}
