import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { get, request } from 'node:https';
import { join } from 'node:path';
import { createClient } from 'redis';
import { WebSocket } from 'ws';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePorts } from '../support/free-ports.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const DIRECTORY = join(import.meta.dirname, '../../deploy/templates/process');

let program: Program;
beforeAll(async () => {
  program = await Program.start({ workers: 1 });
  for (const file of readdirSync(DIRECTORY)) {
    const { template, tag } = JSON.parse(readFileSync(join(DIRECTORY, file), 'utf8')) as {
      readonly template: { readonly template_id: string };
      readonly tag: object;
    };
    const added = await program.api('POST', '/v3/pods/templates', template);
    expect([file, added.status, added.body.message]).toEqual([file, 200, 'Template added successfully.']);
    const tagged = await program.api('POST', `/v3/pods/templates/${template.template_id}/tags`, tag);
    expect([file, tagged.status, tagged.body.message]).toEqual([file, 200, 'Template tag added successfully.']);
  }
});
afterAll(() => program.dispose());

async function derivedVariables(podId: string): Promise<Record<string, string>> {
  const derived = await program.get(`/v3/pods/${podId}/derived?resolve_secrets=true`);
  return (derived.body.result as { environment_variables: Record<string, string> }).environment_variables;
}

test('redis: a client logs in through the gateway with the random password, and not without it', async () => {
  await program.createPod({ pod_id: 'cache', template: 'redis' });
  await program.podStatus('cache', 'RUNNING');
  const { REDIS_PASSWORD: password = '' } = await derivedVariables('cache');
  expect(password).toMatch(/^[A-Za-z0-9]{32}$/);
  const connect = async (secret: string): Promise<string | null> => {
    const client = createClient({
      password: secret,
      socket: {
        ...{ tls: true, host: '127.0.0.1', port: program.httpsPort, servername: 'cache.pods.localhost' },
        ...{ ca: program.ca, reconnectStrategy: false },
      },
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.set('color', 'red');
      return await client.get('color');
    } finally {
      client.destroy();
    }
  };
  expect(await connect(password)).toBe('red');
  await expect(connect('wrong')).rejects.toThrow(/WRONGPASS/);
});

test('mariadb: a client logs in through a TLS tunnel, and what it wrote is there after a restart', async () => {
  await program.createPod({ pod_id: 'sqldb', template: 'mariadb' });
  const { MARIADB_PASSWORD: password = '' } = await derivedVariables('sqldb');
  const [port = 0] = await freePorts(1);
  const tunnel = spawn(
    'socat',
    [
      `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork`,
      `OPENSSL:sqldb.pods.localhost:${program.httpsPort},pf=ip4,cafile=${program.caPath}`,
    ],
    { stdio: 'ignore', detached: true },
  );
  const query = (sql: string, secret: string, user = 'user') =>
    run('mariadb', ['--no-defaults', '-h127.0.0.1', `-P${port}`, `-u${user}`, '-Nse', sql, 'db'], {
      env: { MYSQL_PWD: secret },
    });
  try {
    await until('MariaDB answers through the tunnel', async () => (await query('SELECT 1', password)).stdout === '1\n');
    expect(await query('CREATE TABLE colors AS SELECT "red" AS name', password)).toMatchObject({ code: 0, stderr: '' });
    expect((await query('SELECT 1', 'wrong')).stderr).toContain('ERROR 1045 (28000): Access denied');
    expect((await query('SELECT 1', '', 'root')).stderr).toContain('Access denied');

    const changed = `a'b\\c"d`;
    const { status } = await program.api('PUT', '/v3/pods/sqldb', {
      environment_variables: { MARIADB_PASSWORD: changed },
    });
    expect(status).toBe(200);
    await program.get('/v3/pods/sqldb/restart');
    const colors = 'SELECT name FROM colors';
    await until('the new password applies', async () => (await query(colors, changed)).stdout === 'red\n');
    expect((await query(colors, password)).stderr).toContain('Access denied');
  } finally {
    process.kill(-(tunnel.pid ?? 0));
  }
});

test('static-page: the page is the value of the variable', async () => {
  const html = '<h1>Of the lab</h1>';
  await program.createPod({ pod_id: 'page', template: 'static-page', environment_variables: { INDEX_HTML: html } });
  await program.podStatus('page', 'RUNNING');
  const text = await new Promise<string>((resolve, reject) => {
    const options = {
      ...{
        host: '127.0.0.1',
        port: program.httpsPort,
        servername: 'page.pods.localhost',
        ca: program.ca,
        agent: false,
      },
      headers: { host: 'page.pods.localhost' },
    };
    get(options, (answer) => {
      let received = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (received += chunk));
      answer.on('end', () => resolve(received));
    }).on('error', reject);
  });
  expect(text).toBe(html);
});

test('jupyterlab: a user has one pod, with an uploaded file and a working kernel', async () => {
  const ensured = (await program.get('/v3/pods/jupyter/ensure')).body.result as { pod_id: string; url: string };
  expect(ensured.pod_id).toBe('adminjupyter');
  const { hostname: servername, port } = new URL(ensured.url);
  expect([servername, port]).toEqual(['adminjupyter.pods.localhost', String(program.httpsPort)]);
  await program.podStatus('adminjupyter', 'RUNNING');
  expect((await program.get('/v3/pods/jupyter/ensure')).body.result).toMatchObject({ status: 'RUNNING' });

  const form = new FormData();
  form.append('path', 'data/');
  form.append('file', new Blob(['a,b\n1,2\n']), 'table.csv');
  const uploaded = await fetch(`http://127.0.0.1:${program.controlPort}/v3/pods/jupyter/adminjupyter/upload`, {
    ...{ method: 'POST', headers: { 'X-Tapis-Token': program.token }, body: form },
  });
  expect([uploaded.status, ((await uploaded.json()) as { result: unknown }).result]).toEqual([
    200,
    expect.objectContaining({
      pod_name: 'adminjupyter',
      upload_path: expect.stringMatching(/\/data\/table\.csv$/) as string,
    }),
  ]);

  const { JUPYTER_TOKEN: token = '' } = await derivedVariables('adminjupyter');
  const headers = { host: servername, authorization: `token ${token}` };
  const place = { host: '127.0.0.1', port: program.httpsPort, servername, ca: program.ca } as const;
  const call = async (method: string, path: string, withHeaders: object = headers) =>
    await new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
      const sent = request(
        { ...place, method, path, agent: false, headers: { host: servername, ...withHeaders } },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
          answer.on('end', () => resolve({ status: answer.statusCode, text }));
        },
      );
      sent.on('error', reject).end();
    });
  expect((await call('GET', '/api/contents/data/table.csv', {})).status).toBe(403);
  const file = await call('GET', '/api/contents/data/table.csv');
  expect((JSON.parse(file.text) as { content: string }).content).toBe('a,b\n1,2\n');

  const kernel = JSON.parse((await call('POST', '/api/kernels')).text) as { id: string };
  const socket = new WebSocket(`wss://127.0.0.1:${port}/api/kernels/${kernel.id}/channels`, {
    ...{ servername, ca: program.ca, headers },
  });
  try {
    const printed = await new Promise<string>((resolve, reject) => {
      const header = { msg_id: '1', session: '1', username: '', msg_type: 'execute_request', version: '5.3', date: '' };
      const content = { code: "print(6 * 7, open('data/table.csv').read())", silent: false, store_history: false };
      const message = { channel: 'shell', header, parent_header: {}, metadata: {}, content, buffers: [] };
      socket.on('open', () => socket.send(JSON.stringify(message)));
      socket.on('error', reject);
      socket.on('message', (data: Buffer) => {
        const said = JSON.parse(data.toString('utf8')) as { msg_type: string; content: { text?: string } };
        if (said.msg_type === 'stream') resolve(said.content.text ?? '');
      });
    });
    expect(printed.trim()).toBe('42 a,b\n1,2');
  } finally {
    socket.terminate();
  }
});
