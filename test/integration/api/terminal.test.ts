import { createServer } from 'node:http';

import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';

import { becomes, becomesAbsent, ensured, never } from '../../contract/orchestrator-harness.ts';
import { until } from '../../support/until.ts';
import { HttpGateway } from '../proxy/http/http-gateway.ts';
import {
  processOptions,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
} from '../spawner/process-harness.ts';
import { ApiStand } from './api-stand.ts';

const PROTOCOL = 'podgate.terminal.v1';

const { root, remove } = temporaryRoot();
let running: RunningOrchestrator;
let stand: ApiStand;

beforeAll(async () => {
  running = runProcessOrchestrator(processOptions(root));
  const { orchestrator } = running;
  stand = await ApiStand.start({
    orchestrator: {
      logs: (...asked) => orchestrator.logs(...asked),
      shell: orchestrator.shell,
      output: orchestrator.output,
    },
  });
  stand.server.on('upgrade', stand.api.upgrades.listenerFor('control-port'));
  await runPod('mypod');
});
afterAll(async () => {
  stand.api.upgrades.close();
  try {
    await stand.close();
  } finally {
    await running.close();
    remove();
  }
});

async function runPod(id: string) {
  await stand.create('alice', id);
  const { tenant, podId, uid } = await stand.record(id);
  const workload = scriptPod(SERVE, { environmentVariables: { GREETING: 'hello' } }, { tenant, podId, uid });
  await ensured(running.orchestrator, workload);
  await becomes(running.orchestrator, workload, 'ready');
  return workload;
}

interface Client {
  readonly socket: WebSocket;
  readonly shown: () => string;
  readonly texts: string[];
  readonly closed: Promise<string>;
  readonly send: (message: object) => void;
}

async function open(user: string, podId = 'mypod', over: object = {}): Promise<Client> {
  const socket = new WebSocket(`${stand.url.replace('http', 'ws')}/v3/pods/${podId}/terminal`, PROTOCOL, {
    headers: { 'X-Tapis-Token': await stand.token(user) },
    ...over,
  });
  let shown = '';
  const texts: string[] = [];
  socket.on('message', (data, isBinary) => {
    if (isBinary) shown += (data as Buffer).toString();
    else texts.push((data as Buffer).toString());
  });
  const closed = new Promise<string>((resolve) => {
    socket.once('close', (code, reason) => resolve(`${code} ${reason.toString()}`));
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve).once('error', reject);
    socket.once('unexpected-response', (request, response) => {
      request.destroy();
      reject(new Error(`status ${response.statusCode}`));
    });
  });
  return { socket, shown: () => shown, texts, closed, send: (message) => socket.send(JSON.stringify(message)) };
}

const shows = (client: Client, text: string) => until(`it shows ${text}`, () => client.shown().includes(text));

test('a terminal runs a command in the pod with the requested size, and ends with its exit code', async () => {
  const client = await open('alice');
  client.send({ type: 'start', command: ['sh'], columns: 100, rows: 30, term: 'vt100' });
  client.socket.send(Buffer.from('echo "$GREETING $TERM"; stty size\r'));
  await shows(client, 'hello vt100');
  await shows(client, '30 100');
  client.send({ type: 'resize', columns: 132, rows: 50 });
  await until('it has the new size', () => {
    client.socket.send(Buffer.from('stty size\r'));
    return client.shown().includes('50 132');
  });
  client.socket.send(Buffer.from('exit 3\r'));
  expect(await client.closed).toBe('1000 The command ended with exit code 3.');
  expect(client.texts).toEqual(['{"type":"exit","code":3}']);
});

test('output pauses when the client asks for it', async () => {
  const client = await open('alice');
  client.send({ type: 'start', command: ['sh', '-c', 'read go; echo "$go-shown"; sleep 60'] });
  client.send({ type: 'pause' });
  client.socket.send(Buffer.from('first\r'));
  const pausedMs = performance.now();
  await shows(client, 'first-shown');
  expect(performance.now() - pausedMs).toBeGreaterThan(800);
  client.send({ type: 'resume' });
  client.socket.terminate();
});

test('runs a shell by default, and ends the program when the connection ends', async () => {
  const client = await open('alice');
  client.send({ type: 'start' });
  client.socket.send(Buffer.from('sleep 86401 & sleep 86402\r'));
  const runs = async (mark: string) => {
    const ps = 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n"';
    const answer = await stand.call('alice', 'POST', '/v3/pods/mypod/exec', { commands: ['sh', '-c', ps] });
    return JSON.stringify(answer.body.result).includes(`\\nsleep\\n${mark}\\n`);
  };
  await until('it runs', () => runs('86402'));
  client.socket.terminate();
  await until('nothing of it runs', async () => !(await runs('86401')) && !(await runs('86402')));
});

test('needs ADMIN and a token, and is recorded in action_logs without the arguments', async () => {
  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'USER' });
  await expect(open('bob')).rejects.toThrow('status 403');
  await expect(open('carol')).rejects.toThrow('status 403');
  await expect(open('alice', 'nopod')).rejects.toThrow('status 404');
  await expect(open('alice', 'mypod', { headers: {} })).rejects.toThrow('status 401');
  await expect(open('alice', 'mypod', { origin: 'https://mypod.pods.localhost' })).rejects.toThrow('status 403');
  const client = await open('alice');
  client.send({ type: 'start', command: ['echo', 'a-secret'] });
  expect(await client.closed).toMatch(/^1000 /);
  const { action_logs: actions } = (await stand.call('alice', 'GET', '/v3/pods/mypod/logs')).body.result as {
    action_logs: readonly string[];
  };
  expect(actions.at(-1)).toMatch(/: 'alice' opened a terminal with a command: echo$/);
  expect([...actions, ...stand.logLines].join('\n')).not.toContain('a-secret');
  expect(stand.logLines.join('\n')).toContain('a terminal was closed');
});

test('a message that is not of the protocol closes the connection with the reason', async () => {
  for (const [messages, reason] of [
    [[Buffer.from('ls\r')], /^4400 the first message must be/],
    [['{'], /^4400 A text message must be JSON/],
    [['{"type":"start","columns":0}'], /^4400 columns: must be at least 1/],
    [['{"type":"start","command":["a\\u0000"]}'], /^4400 command\.0: must not contain NUL/],
    [['{"type":"start"}', '{"type":"resize","columns":5000,"rows":1}'], /^4400 columns: must be at most 1000/],
    [['{"type":"start"}', Buffer.alloc(65_537)], /^1009 /],
  ] as const) {
    const client = await open('alice');
    for (const message of messages) client.socket.send(message);
    expect(await client.closed).toMatch(reason);
  }
});

test('a pod that is not running, or stops, ends the terminal with the reason', async () => {
  await stand.create('alice', 'notrunning');
  const refused = await open('alice', 'notrunning');
  refused.send({ type: 'start' });
  expect(await refused.closed).toBe('4409 The pod is not running.');
  const workload = await runPod('stopping');
  const client = await open('alice', 'stopping');
  client.send({ type: 'start', command: ['sh', '-c', 'echo begun; sleep 86403'] });
  await shows(client, 'begun');
  await running.orchestrator.remove(workload, { data: 'delete', run: workload.run }, never());
  expect(await client.closed).toBe('1001 The pod has stopped, and the terminal with it.');
  await becomesAbsent(running.orchestrator, workload);
});

test('limits the open terminals of a user', async () => {
  const clients = await Promise.all(Array.from({ length: 6 }, () => open('alice')));
  await expect(open('alice')).rejects.toThrow('status 429');
  for (const { socket } of clients) socket.terminate();
  await until('there is room again', async () => {
    const client = await open('alice').catch(() => null);
    client?.socket.terminate();
    return client !== null;
  });
});

test('through the gateway, the terminal stays open while idle', async () => {
  const gateway = await HttpGateway.start({ apiAnswerMs: 300 });
  const server = createServer(stand.api.serverOptions, stand.api.listenerFor('gateway'));
  server.on('upgrade', stand.api.upgrades.listenerFor('gateway'));
  try {
    await new Promise<void>((resolve) => server.listen(gateway.apiSocketPath, resolve));
    const tls = await gateway.connect('localhost');
    const client = await open('alice', 'mypod', {
      createConnection: () => tls,
      headers: { 'X-Tapis-Token': await stand.token('alice'), Host: 'localhost' },
    });
    client.send({ type: 'start', command: ['sh', '-c', 'sleep 1; echo awake'] });
    await shows(client, 'awake');
    expect(await client.closed).toBe('1000 The command ended with exit code 0.');
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await gateway.close();
  }
});
