import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { podsRootOf } from '../../main/control/pods-root.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';

const SECRET = 'a-secret-that-nobody-else-has-7f3b';
/** Says which start this is and what it was given; ends when it is asked to. */
const SCRIPT = `const start = require('node:crypto').randomUUID();
require('node:http').createServer((request, answer) => {
  answer.end(JSON.stringify({ start, secret: process.env.SECRET, word: process.argv[1] }));
  if (request.url === '/end') answer.on('close', () => process.exit(1));
}).listen(process.env.PORT, '127.0.0.1')`;

let program: Program;
beforeAll(async () => {
  program = await Program.start({ workers: 1 });
});
afterAll(() => program.dispose());

async function page(path = '/'): Promise<{ start: string; secret: string; word?: string }> {
  const text = await new Promise<string>((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: program.httpsPort,
      path,
      servername: 'vars.pods.localhost',
      headers: { host: 'vars.pods.localhost' },
      ca: program.ca,
      agent: false,
    } as const;
    get(options, (answer) => {
      let received = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (received += chunk));
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve(received);
        else reject(new Error(received));
      });
    }).on('error', reject);
  });
  return JSON.parse(text) as { start: string; secret: string; word?: string };
}

/** Files below these directories that hold the secret. */
function leaks(): string {
  const installation = readFileSync(join(program.dataDir, 'installation.id'), 'utf8').trim();
  const { root } = podsRootOf({ dataDir: program.dataDir, installation, asRoot: process.getuid?.() === 0 });
  const script = 'grep -rlaF -- "$1" "$2" "$3" || true';
  return execFileSync('sh', ['-c', script, 'sh', SECRET, program.dataDir, root], { encoding: 'utf8' });
}

it('a variable reaches its program, also when it restarts under another control process, and is in no file', async () => {
  await program.createPod({
    pod_id: 'vars',
    pod_template: 'podgate/process',
    command: [process.execPath, '-e', SCRIPT],
    environment_variables: { SECRET },
  });
  const first = await until('the pod answers', () => page());
  expect(first.secret).toBe(SECRET);
  expect(leaks()).toBe('');

  // The next control process has nothing but the files.
  const [control] = program.children('control');
  if (control === undefined) throw new Error('no control process');
  process.kill(control.pid, 'SIGKILL');
  await until('another control process is ready', () => {
    const [next] = program.children('control');
    return next !== undefined && next.pid !== control.pid;
  });
  await program.ready();
  expect((await until('the pod answers still', () => page())).start).toBe(first.start);
  await page('/end');
  const second = await until('its program was started anew', async () => {
    const now = await page();
    return now.start === first.start ? null : now;
  });
  expect(second.secret).toBe(SECRET);
  expect(leaks()).toBe('');
});

it('a secret reaches the variables and arguments of its pod, a new value at the next start, and is in no file or log', async () => {
  const secrets = '/v3/pods/secrets';
  expect((await program.api('POST', secrets, { secret_id: 'pass', secret_value: SECRET })).status).toBe(200);
  const created = await program.api('PUT', '/v3/pods/vars', {
    secret_map: { PASS: '${secret:pass}' },
    environment_variables: { SECRET: '<${pods:secrets:PASS}> at ${pods:url}' },
    arguments: ['word: ${pods:secrets:PASS}'],
  });
  expect(created.body).toMatchObject({ status: 'success', result: { secret_map: { PASS: '${secret:pass}' } } });
  await program.api('POST', '/v3/pods/vars/restart');
  const resolved = { secret: `<${SECRET}> at vars.pods.localhost`, word: `word: ${SECRET}` };
  await until('the pod has the secret', async () => (await page()).word !== undefined, { timeoutMs: 60_000 });
  expect(await page()).toMatchObject(resolved);
  expect(leaks()).toBe('');
  expect(program.output).not.toContain(SECRET);
  const logs = await program.get('/v3/pods/vars/logs');
  expect(JSON.stringify(logs.body)).not.toContain(SECRET);

  await program.api('DELETE', `${secrets}/pass`);
  await program.api('POST', '/v3/pods/vars/restart');
  const failed = await program.podStatus('vars', 'ERROR', 60_000);
  expect(failed).toMatchObject({
    status_container: {
      message: expect.stringContaining('secret_map.PASS: there is no secret pass any more') as unknown,
    },
  });
});
