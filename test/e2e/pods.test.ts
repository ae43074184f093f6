import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from 'node:tls';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const HTTP_SERVER =
  "const serve = (name) => require('node:http').createServer((q, r) => r.end(name + ' ' + q.url + ' ' + (process.env.GREETING ?? '')))" +
  ".listen(process.env[name], '127.0.0.1'); for (const name of Object.keys(process.env)) if (/^PORT/.test(name) && name !== 'PORT_DEFAULT') serve(name); " +
  "console.log('listening'); console.error('to stderr');";

let program: Program;

beforeAll(async () => {
  program = await Program.start();
});
afterAll(async () => {
  await program.dispose();
});

/** curl, verified by the program's own CA. */
async function curl(host: string, path = '/', ...args: string[]) {
  const url = `https://${host}:${program.httpsPort}${path}`;
  return run('curl', [
    '-sS',
    '--max-time',
    '20',
    '--cacert',
    program.caPath,
    '--resolve',
    `${host}:${program.httpsPort}:127.0.0.1`,
    ...args,
    url,
  ]);
}

test('the hello pod takes one call and responds to curl through TLS', async () => {
  const created = await program.api('POST', '/v3/pods?wait=routable', {
    pod_id: 'hello',
    pod_template: 'podgate/hello',
  });
  expect(created.status, JSON.stringify(created.body)).toBe(200);
  const answer = await curl('hello.pods.localhost');
  expect(answer.stderr).toBe('');
  expect(answer.stdout).toContain('hello');
  const pod = await program.get('/v3/pods/hello');
  expect(pod.body.result).toMatchObject({
    status: 'RUNNING',
    networking: { default: { url: 'hello.pods.localhost' } },
  });
});

test('the API answers at the base host through the gateway, on HTTP/1.1 with the same CA', async () => {
  const answer = await curl('localhost', '/v3/pods', '-H', `X-Tapis-Token: ${program.token}`);
  expect(JSON.parse(answer.stdout)).toMatchObject({ status: 'success' });
  const health = await curl('localhost', '/v3/healthcheck');
  expect(JSON.parse(health.stdout)).toMatchObject({ status: 'success' });
  expect((await curl('localhost', '/metrics', '-o', '/dev/null', '-w', '%{http_code}')).stdout).toBe('404');
});

test('a custom pod with three stanzas is reached under a name for each; local_only cannot be reached from outside', async () => {
  await program.createPod({
    pod_id: 'custom',
    pod_template: 'podgate/process',
    command: ['node', '-e', HTTP_SERVER],
    environment_variables: { GREETING: 'good day' },
    networking: {
      default: { protocol: 'http', port: 5000 },
      second: { protocol: 'http', port: 5001 },
      inner: { protocol: 'local_only', port: 5002 },
    },
  });
  expect((await curl('custom.pods.localhost', '/a?b=c')).stdout).toBe('PORT /a?b=c good day');
  expect((await curl('custom-second.pods.localhost', '/x')).stdout).toBe('PORT_SECOND /x good day');
  const inner = await curl('custom-inner.pods.localhost', '/', '-o', '/dev/null', '-w', '%{http_code}');
  expect(inner.stdout).toBe('404');
});

test('logs contain the output and the actions of the pod', async () => {
  const logs = await until('the output is there', async () => {
    const { logs: text, action_logs: actions } = (await program.get('/v3/pods/custom/logs')).body.result as {
      logs: string;
      action_logs: string[];
    };
    return text.includes('to stderr') ? { text, actions } : null;
  });
  expect(logs.text).toContain('listening');
  expect(logs.actions[0]).toMatch(/^\d\d\/\d\d\/\d\d \d\d:\d\d: Pod object created by 'admin'$/);
  expect(logs.actions.join('\n')).toMatch(/SPAWNER_SETUP[^]*CREATING_CONTAINER[^]*RUNNING/);
});

test('a stopped pod says so, starts again, and differs from an unknown name', async () => {
  expect((await program.get('/v3/pods/hello/stop')).status).toBe(200);
  await program.podStatus('hello', 'STOPPED');
  const stopped = await until('every worker knows', async () => {
    const { stdout } = await curl(
      'hello.pods.localhost',
      '/',
      '-H',
      'Accept: application/json',
      '-w',
      '\n%{http_code}',
    );
    return stdout.endsWith('503') && stdout.includes('STOPPED') ? stdout : null;
  });
  expect(stopped).toContain('/v3/pods/hello/start');
  expect((await curl('nobody.pods.localhost', '/', '-o', '/dev/null', '-w', '%{http_code}')).stdout).toBe('404');
  expect((await program.api('POST', '/v3/pods/hello/start?wait=routable')).status).toBe(200);
  expect((await curl('hello.pods.localhost')).stdout).toContain('hello');
});

test('restart creates a new instance; update reports which fields wait for it', async () => {
  const before = (await program.get('/v3/pods/custom')).body.result as { start_instance_ts: string };
  const update = await program.api('PUT', '/v3/pods/custom', { environment_variables: { GREETING: 'good night' } });
  expect(update.status).toBe(200);
  expect(JSON.stringify(update.body.metadata)).toMatch(/restart|start/);
  expect((await curl('custom.pods.localhost')).stdout).toContain('good day');
  expect((await program.get('/v3/pods/custom/restart?wait=routable')).status).toBe(200);
  const after = await program.podStatus('custom', 'RUNNING');
  expect(after['start_instance_ts']).not.toBe(before.start_instance_ts);
  expect((await curl('custom.pods.localhost')).stdout).toContain('good night');
});

test('a pod that keeps crashing is in ERROR with its exit code, and RUNNING once it recovers', async () => {
  const command = ['sh', '-c', 'if [ -e fine ]; then exec node -e "$SERVER"; else touch tried; exit 3; fi'];
  await program.api('POST', '/v3/pods', {
    pod_id: 'crasher',
    pod_template: 'podgate/process',
    command,
    environment_variables: { SERVER: HTTP_SERVER },
  });
  const pod = await program.podStatus('crasher', 'ERROR');
  expect(pod['status_container']).toMatchObject({ exit_code: 3 });
  expect((await program.api('DELETE', '/v3/pods/crasher')).status).toBe(200);
  await until('it is gone', async () => (await program.get('/v3/pods/crasher')).status === 404);
});

test('a pod whose program is missing is in ERROR or says why, and can be deleted', async () => {
  await program.api('POST', '/v3/pods', {
    pod_id: 'absent',
    pod_template: 'podgate/process',
    command: ['/no/such/program'],
  });
  const pod = await program.podStatus('absent', 'ERROR');
  expect(JSON.stringify(pod['status_container'])).toMatch(/127|not found|exit/i);
  expect((await program.api('DELETE', '/v3/pods/absent')).status).toBe(200);
});

test('an id is free again after DELETE, and the new pod is a different one', async () => {
  expect((await program.api('DELETE', '/v3/pods/custom')).status).toBe(200);
  expect((await program.get('/v3/pods/custom')).status).toBe(404);
  await until('the id is free', async () => {
    const answer = await program.api('POST', '/v3/pods', { pod_id: 'custom', pod_template: 'podgate/hello' });
    return answer.status === 200;
  });
  await program.podStatus('custom', 'RUNNING');
  await until('its own route', async () => (await curl('custom.pods.localhost')).stdout.includes('custom'));
});

test('plain HTTP is redirected to TLS, and garbage is closed', async () => {
  const redirect = await run('curl', [
    '-sS',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code} %{redirect_url}',
    '--resolve',
    `hello.pods.localhost:${program.httpPort}:127.0.0.1`,
    `http://hello.pods.localhost:${program.httpPort}/a?b`,
  ]);
  expect(redirect.stdout).toBe(`308 https://hello.pods.localhost:${program.httpsPort}/a?b`);
});

test('data in a TLS session of an unknown name gets the reason, not a reset', async () => {
  const socket = connect({
    host: '127.0.0.1',
    port: program.httpsPort,
    servername: 'nobody.pods.localhost',
    ca: program.ca,
  });
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  socket.write('GET / HTTP/1.1\r\nHost: nobody.pods.localhost\r\nConnection: close\r\n\r\n');
  await new Promise((resolve) => socket.on('close', resolve));
  expect(text).toMatch(/^HTTP\/1.1 404/);
});

test('after Ctrl-C everything is down within 5 s, including pods; after a new start, the pods that were ON come back', async () => {
  const started = performance.now();
  program.signal('SIGINT');
  await program.ended();
  expect(performance.now() - started).toBeLessThan(5_000);
  await program.start();
  await program.podStatus('hello', 'RUNNING');
  await until('it answers', async () => (await curl('hello.pods.localhost')).stdout.includes('hello'));
});
