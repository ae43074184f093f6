import { readdirSync, readFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { createClient } from 'redis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../support/program.ts';

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

test('redis: a client logs in through the gateway with the random password, and not without it', async () => {
  await program.createPod({ pod_id: 'cache', template: 'redis' });
  await program.podStatus('cache', 'RUNNING');
  const derived = await program.get('/v3/pods/cache/derived?resolve_secrets=true');
  const { environment_variables: variables } = derived.body.result as {
    environment_variables: Record<string, string>;
  };
  const password = variables['REDIS_PASSWORD'] ?? '';
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

test('static-page: the page is what the variable says', async () => {
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
