import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect, test } from 'vitest';
import { Program } from '../../support/program.ts';
import { until } from '../../support/until.ts';

const EVERYWHERE = { PODGATE_HOST: '::', PODGATE_ALLOW_REMOTE_PROCESS_PODS: 'yes' };
/** Says what it hears, a PROXY header first. */
const ECHO = `require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1')`;

function statusOf(program: Program, address: string, pod: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const servername = `${pod}.pods.localhost`;
    const { httpsPort: port, ca } = program;
    request(
      { host: address, port, ca, servername, headers: { host: `${servername}:${port}` }, agent: false },
      (answer) => resolve(answer.resume().statusCode ?? 0),
    )
      .on('error', reject)
      .end();
  });
}

function firstLineOf(program: Program, address: string, pod: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { httpsPort: port, ca } = program;
    const socket = connect({ host: address, port, ca, servername: `${pod}.pods.localhost` });
    socket.on('error', reject).once('data', (chunk) => {
      socket.destroy();
      resolve(chunk.toString('latin1').split('\r\n', 1)[0] ?? '');
    });
  });
}

test('with PODGATE_HOST=::, lists, PROXY headers and the access log show IPv4 clients as IPv4', async () => {
  const program = await Program.start({ workers: 1, env: EVERYWHERE });
  try {
    await program.createPod({
      pod_id: 'listed',
      pod_template: 'podgate/hello',
      networking: { default: { protocol: 'http', port: 8080, ip_allow_list: ['127.0.0.0/8'] } },
    });
    await program.createPod({
      pod_id: 'echo',
      pod_template: 'podgate/process',
      command: ['node', '-e', ECHO],
      networking: { default: { protocol: 'tcp', port: 7000, proxy_protocol: 'v1' } },
    });
    expect(await statusOf(program, '127.0.0.1', 'listed')).toBe(200);
    expect(await statusOf(program, '::1', 'listed')).toBe(403);
    expect(await firstLineOf(program, '127.0.0.1', 'echo')).toMatch(/^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+$/);
    expect(await firstLineOf(program, '::1', 'echo')).toMatch(/^PROXY TCP6 ::1 ::1 \d+ \d+$/);
    const addresses = await until('the access log has them all', () => {
      const lines = readFileSync(join(program.dataDir, 'access.log'), 'utf8').split('\n').slice(0, -1);
      const clients = lines.map(
        (line) => JSON.parse(line) as { readonly address: string; readonly pod: string | null },
      );
      return clients.filter(({ pod }) => pod !== null).length === 4 ? clients.map(({ address }) => address) : null;
    });
    expect(new Set(addresses)).toEqual(new Set(['127.0.0.1', '::1']));
  } finally {
    await program.dispose();
  }
});

test.runIf(process.platform === 'linux')(
  'PODGATE_HOST=:: is 0.0.0.0 on a kernel without IPv6, and the log says so',
  async () => {
    const program = await Program.start({ workers: 1, env: EVERYWHERE, isWithoutIpv6: true });
    try {
      await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
      expect(await statusOf(program, '127.0.0.1', 'hello')).toBe(200);
      expect(program.output.match(/no IPv6 on this machine/g)).toHaveLength(1);
    } finally {
      await program.dispose();
    }
  },
);
