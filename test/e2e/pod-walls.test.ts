import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canEnterNamespaces } from '../../proxy/socket/network-namespace.ts';
import { tryWalls } from '../../spawner/orchestrator/process/walls.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';

const walls = tryWalls({ asRoot: process.getuid?.() === 0, canEnter: canEnterNamespaces() });

/** Python, since its servers bind exactly what they are given. */
const SERVE = (address: string) => `
import http.server, os, socket, sys
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ':' in '${address}' else socket.AF_INET
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = b'from ${address}'
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
Server(('${address}', int(os.environ['PORT'])), Handler).serve_forever()
`;

/** Fetches each URL, also with a Host of its own, and prints a line of JSON: what came of it, and then the time. */
const FETCH = `
const https = require('node:https');
const net = require('node:net');
const { targets, ports, ca } = JSON.parse(process.env.TASK);
const get = ({ host, port }) => new Promise((done) => {
  const request = https.get({ host: '127.0.0.1', port, servername: host, headers: { host }, ca, agent: false }, (answer) => {
    let body = '';
    answer.on('data', (text) => { body += text; }).on('end', () => done(answer.statusCode + ' ' + body));
  });
  request.on('error', (error) => done(error.code));
});
const dial = (port) => new Promise((done) => {
  net.connect({ host: '127.0.0.1', port }).on('connect', () => done('connected')).on('error', (error) => done(error.code));
});
Promise.all([Promise.all(targets.map(get)), Promise.all(ports.map(dial))]).then((seen) => console.log(JSON.stringify(seen)));
`;

describe('process pods, seen through the gateway', () => {
  let program: Program;
  beforeAll(async () => {
    program = await Program.start();
  });
  afterAll(() => program.dispose());

  async function serve(podId: string, address: string): Promise<void> {
    const command = ['python3', '-c', SERVE(address)];
    const created = await program.api('POST', '/v3/pods?wait=routable', {
      pod_id: podId,
      pod_template: 'podgate/process',
      command,
    });
    expect(created.status, JSON.stringify(created.body)).toBe(200);
  }

  async function logsOf(podId: string): Promise<string> {
    const answer = await program.get(`/v3/pods/${podId}/logs`);
    return (answer.body.result as { logs: string }).logs;
  }

  /** What a pod sees of hosts at the gateway, and of ports of 127.0.0.1. */
  async function seenFrom(podId: string, hosts: readonly string[], ports: readonly number[]) {
    const targets = hosts.map((host) => ({ host, port: program.httpsPort }));
    await program.api('POST', '/v3/pods', {
      pod_id: podId,
      pod_template: 'podgate/process',
      command: ['node', '-e', FETCH],
      environment_variables: { TASK: JSON.stringify({ targets, ports, ca: program.ca }) },
    });
    const line = await until(`${podId} has looked`, async () => (/^\[.*\]$/m.exec(await logsOf(podId)) ?? [null])[0]);
    return JSON.parse(line) as [string[], string[]];
  }

  it.each([
    ['onfour', '127.0.0.1'],
    ['onanyfour', '0.0.0.0'],
    ['onsix', '::1'],
    ['onanysix', '::'],
  ])('%s: a program that listens only on %s can be reached', async (name, address) => {
    await serve(name, address);
    const [[answer]] = await seenFrom(`${name}client`, [`${name}.pods.localhost`], []);
    expect(answer).toBe(`200 from ${address}`);
  });

  it.skipIf(!walls.hasNamespaces)(
    'no pod reaches the control port, or other ports of Podgate or the machine: only the public ports',
    async () => {
      await serve('neighbor', '127.0.0.1');
      const [answers, dialed] = await seenFrom(
        'nosy',
        ['neighbor.pods.localhost', 'localhost'],
        [program.controlPort, program.httpsPort],
      );
      expect(answers[0]).toBe('200 from 127.0.0.1');
      expect(answers[1]).toMatch(/^\d{3} /);
      expect(dialed).toEqual(['ECONNREFUSED', 'connected']);
    },
  );

  it('a program that listens elsewhere is notified within seconds', async () => {
    await program.api('POST', '/v3/pods', {
      pod_id: 'elsewhere',
      pod_template: 'podgate/process',
      command: ['python3', '-m', 'http.server', '--bind', '127.0.0.1', '31999'],
    });
    const pod = await until(
      'the status says why',
      async () => {
        const { result } = (await program.get('/v3/pods/elsewhere')).body;
        const { message } = (result as { status_container: { message?: string } }).status_container;
        return message === undefined || message === '' ? null : message;
      },
      { timeoutMs: 20_000 },
    );
    expect(pod).toMatch(/^listens on 127\.0\.0\.1:31999, not on port \d+ \(\$PORT\)$/);
  });
});
