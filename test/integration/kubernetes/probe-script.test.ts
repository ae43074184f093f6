import { spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parseProbeReport, type ProbeReport } from '../../../spawner/orchestrator/kubernetes/doctor/judge-probe.ts';
import { REACH } from '../../../spawner/orchestrator/kubernetes/doctor/probe-script.ts';

/** What a pod of `podgate doctor --probe` runs, as a process here: what it reaches are real servers. */
describe('the program of a pod that is being isolated', () => {
  const open: (Server | Socket)[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'podgate-probe-'));
  afterEach(() => {
    for (const each of open.splice(0)) each.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function listening(onConnection: (server: Server) => void = () => undefined, host = '127.0.0.1') {
    const server = createServer((socket) => {
      socket.on('error', () => undefined).end();
      onConnection(server);
    }).listen(0, host);
    open.push(server);
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  async function report(environment: Readonly<Record<string, string>>): Promise<ProbeReport | null> {
    const env = Object.entries(process.env).filter(([name]) => !name.startsWith('KUBERNETES_'));
    const child = spawn(process.execPath, ['-e', REACH], {
      env: { ...Object.fromEntries(env), ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    await once(child, 'close');
    return parseProbeReport(text);
  }

  it('reports when it was isolated, and what it reached before', async () => {
    // A network that fences after the fifth connection.
    let count = 0;
    const port = await listening((server) => {
      count += 1;
      if (count === 5) server.close();
    });
    const found = await report({ TARGETS: JSON.stringify({ pod: ['127.0.0.1', port], metadata: ['127.0.0.1', 1] }) });
    expect(found?.fence.reached).toEqual(['pod']);
    expect(found?.fence.afterMs).toBeGreaterThanOrEqual(400);
    expect(count).toBe(5);
    expect(found?.nameServers).toEqual([]);
    expect(Math.abs((found?.nowMs ?? 0) - Date.now())).toBeLessThan(60_000);
  });

  it('reports that it never reached anything', async () => {
    const found = await report({ TARGETS: JSON.stringify({ pod: ['127.0.0.1', 1] }) });
    expect(found?.fence).toEqual({ afterMs: 0, reached: [] });
  });

  it('reports what it still reaches at the deadline', async () => {
    const port = await listening();
    const found = await report({ TARGETS: JSON.stringify({ pod: ['127.0.0.1', port], api: ['127.0.0.1', 1] }) });
    expect(found?.fence).toEqual({ afterMs: null, reached: ['pod'] });
  });

  it('reports that it still reaches an IPv6 address where only IPv4 is isolated', async () => {
    const port = await listening(undefined, '::1');
    const found = await report({
      TARGETS: JSON.stringify({ 'pod-ipv4': ['127.0.0.1', 1], 'pod-ipv6': ['::1', port] }),
    });
    expect(found?.fence).toEqual({ afterMs: null, reached: ['pod-ipv6'] });
  });

  it('accepts any response of a name server, and reports which do not respond', async () => {
    // Answers NXDOMAIN: the question with its header's flags changed.
    const server = createSocket('udp4');
    open.push(server);
    server.on('message', (message, { port, address }) => {
      message.writeUInt16BE(0x8183, 2);
      server.send(message, port, address);
    });
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    const silent = createSocket('udp4');
    open.push(silent);
    silent.bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const [answering, mute] = [server, silent].map((each) => `127.0.0.1:${each.address().port}`);
    const resolvConf = join(mkdtempSync(`${folder}-`), 'resolv.conf');
    writeFileSync(
      resolvConf,
      `search podgate-pods.svc.cluster.local svc.cluster.local\nnameserver ${answering}\nnameserver ${mute}\n`,
    );
    const found = await report({ TARGETS: '{}', NAMES: 'yes', RESOLV_CONF: resolvConf });
    expect(found?.nameServers).toEqual([
      { address: answering, afterMs: expect.any(Number) as unknown },
      { address: mute, afterMs: null },
    ]);
  });
});
