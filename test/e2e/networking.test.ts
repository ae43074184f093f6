import { once } from 'node:events';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createClientAuthority } from '../support/client-authority.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';

const HOST = 'closed.pods.localhost';
const lab = createClientAuthority('Lab');
let program: Program;

beforeAll(async () => {
  program = await Program.start({ workers: 2 });
});
afterAll(async () => {
  await program.dispose();
  lab.remove();
});

async function open(servername: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { httpsPort: port, ca } = program;
  const client = connect({ host: '127.0.0.1', port, servername, ca, ALPNProtocols: ['http/1.1'], ...options });
  await once(client, 'secureConnect');
  return client.on('error', () => undefined);
}

/** The status of one request, whether the session was resumed, and what the client keeps of it. */
async function ask(host: string, options: ConnectionOptions = {}) {
  const client = await open(host, options);
  let session: Buffer | undefined;
  client.on('session', (ticket: Buffer) => (session = ticket));
  client.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  const [answer] = (await once(client, 'data')) as [Buffer];
  const isResumed = client.isSessionReused();
  session ??= client.getSession();
  client.destroy();
  return { status: Number(answer.toString('latin1', 9, 12)), isResumed, ...(session !== undefined && { session }) };
}

it.each(['TLSv1.2', 'TLSv1.3'] as const)(
  'a %s session is resumed on any worker, and after a full restart',
  async (maxVersion) => {
    const { session } = await ask('localhost', { maxVersion });
    if (session === undefined) throw new Error('no session');
    // Which worker it is, is the kernel's choice.
    for (let round = 0; round < 8; round++) {
      expect(await ask('localhost', { maxVersion, session })).toMatchObject({ status: 200, isResumed: true });
    }
    await program.stop();
    await program.start();
    for (let round = 0; round < 4; round++) {
      expect(await ask('localhost', { maxVersion, session })).toMatchObject({ status: 200, isResumed: true });
    }
  },
);

it('a running pod requires client certificates exactly as long as its owner wants', async () => {
  const stanza = { protocol: 'http', port: 8080 };
  await program.createPod({ pod_id: 'closed', pod_template: 'podgate/hello', networking: { default: stanza } });
  await until('it is routed', async () => (await ask(HOST)).status === 200);
  const alice = lab.issue('/CN=alice');
  for (const clientCa of [lab.ca, '']) {
    const networking = { default: { ...stanza, client_ca: clientCa } };
    expect(await program.api('PUT', '/v3/pods/closed', { networking })).toMatchObject({ status: 200 });
    const expected = clientCa === '' ? 200 : 403;
    await until('it is so in every worker', async () => {
      const statuses = await Promise.all(Array.from({ length: 6 }, () => ask(HOST)));
      return statuses.every(({ status }) => status === expected);
    });
    expect((await ask(HOST, alice)).status).toBe(200);
  }
});
