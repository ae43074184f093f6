import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from '../../../config/load-config.ts';
import { greetingFields, greetingOf } from '../../../main/supervisor/greeting.ts';

const ROOT = join(import.meta.dirname, '../../..');

const said = (env: NodeJS.ProcessEnv, resolvesNames = true): string =>
  greetingOf({
    config: loadConfig(env, '/home/u/podgate'),
    version: '1.2.3',
    tookMs: 340,
    cwd: '/home/u/podgate',
    asRoot: false,
    resolvesNames,
  });

test('it names the token file and never a token, and its commands are for this directory', () => {
  const text = said({});
  expect(text).toContain('$(cat .podgate/admin.token)');
  expect(text).toContain('curl --cacert .podgate/ca.pem https://hello.pods.localhost:8443/');
  expect(text).toContain(`\n  ${ROOT}/podgate psql mypg`);
  expect(text).not.toContain('npx');
  expect(text).toContain('Pods run as processes on this machine, with your rights');
  expect(text).not.toContain('libnss-myhostname');
});

test('with a cluster it says where pods run, and that they keep running when Podgate stops', () => {
  const text = said({ PODGATE_ORCHESTRATOR: 'kubernetes', PODGATE_NAMESPACE: 'users', KUBECONFIG: '/k' });
  expect(text).toContain('Pods run in the namespace users of the cluster.');
  expect(text).toContain('Ctrl-C stops Podgate; pods keep running');
  expect(text).not.toContain('processes on this machine');
});

test('it says what to do when pod host names do not resolve', () => {
  expect(said({}, false)).toContain('sudo apt-get install libnss-myhostname');
  const elsewhere = said({ PODGATE_BASE_HOST: 'a.org' }, false);
  expect(elsewhere).toContain('a DNS record *.pods.a.org');
  expect(elsewhere).not.toContain('by themselves');
  expect(elsewhere).toContain('--resolve hello.pods.a.org:8443:127.0.0.1 https://hello.pods.a.org:8443/');
  expect(said({}, false)).not.toContain('--resolve');
});

test('in a checkout the command is ./podgate', () => {
  const config = loadConfig({}, ROOT);
  const options = { config, version: '1', tookMs: 1, cwd: ROOT, asRoot: false, resolvesNames: true };
  expect(greetingOf(options)).toContain("\n  ./podgate psql mypg -c 'SELECT version()'\n");
});

test('it lists the other addresses and files', () => {
  const config = { ...loadConfig({}, '/home/u/podgate'), listeners: [{ port: 5432 }, { port: 7687 }] };
  const options = { config, version: '1', tookMs: 1, cwd: '/home/u/podgate', asRoot: false, resolvesNames: true };
  expect(greetingOf(options)).toContain('Everything is also available on ports 5432 and 7687.\n');
  expect(greetingOf({ ...options, config: { ...config, listeners: [{ port: 5432 }] } })).toContain(
    'also available on port 5432.\n',
  );
  expect(said({})).not.toContain('also available on');
});

test('another data directory is quoted for the shell and passed to the command', () => {
  const text = said({ PODGATE_DATA_DIR: "/srv/it's here" });
  expect(text).toContain(`$(cat '/srv/it'\\''s here/admin.token')`);
  expect(text).toContain(`PODGATE_DATA_DIR='/srv/it'\\''s here' ${ROOT}/podgate psql`);
});

test('in a structured log it says what an operator needs, without commands, keys or shell paths', () => {
  const env = {
    PODGATE_ORCHESTRATOR: 'kubernetes',
    PODGATE_NAMESPACE: 'users',
    KUBECONFIG: '/k',
    PODGATE_BASE_HOST: 'a.org',
  };
  const fields = greetingFields({ config: loadConfig(env, '/srv/podgate'), version: '1.2.3', tookMs: 340.4 });
  expect(fields).toMatchObject({
    version: '1.2.3',
    ms: 340,
    roles: ['gateway', 'control', 'spawner', 'health'],
    baseHosts: ['a.org'],
    api: 'https://a.org:8443/v3/pods',
    pods: 'kubernetes',
    namespace: 'users',
  });
  expect(JSON.stringify(fields)).not.toMatch(/npx|curl|Ctrl|\$|\/srv/);
});

test('it links to the console when login links are enabled', () => {
  const config = loadConfig({}, ROOT);
  const options = { config, version: '1', tookMs: 1, cwd: ROOT, asRoot: false, resolvesNames: true };
  expect(greetingOf({ ...options, loginCode: 'c0de' })).toContain('\n  http://127.0.0.1:8000/#login=c0de\n');
  expect(greetingOf(options)).not.toContain('#login');
});
