import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';
import type { ContainerEngine } from './container-engine.ts';

/** Of the cluster's image, unpacked. Node's own program is 116 MB of it, stripped. */
const SIZE_MAX_MB = 200;
const START_MS = 60_000;
/** Ctrl-C is 5 s at most; there are no pods here that would take longer. */
const END_MAX_MS = 6_000;
const HARDENED = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--network', 'none'];

export async function checkSize(engine: ContainerEngine): Promise<string> {
  const sizeMb = Number(await engine.docker(['inspect', '--format', '{{.Size}}', 'podgate'])) / 1e6;
  if (sizeMb > SIZE_MAX_MB) throw new Error(`it has ${sizeMb.toFixed(0)} MB, more than ${SIZE_MAX_MB}`);
  return `${sizeMb.toFixed(0)} MB`;
}

/** Of the exported file system: what can be executed is the loader with its libraries, Node, and our command. */
export async function checkFiles(engine: ContainerEngine): Promise<string> {
  const container = await engine.docker(['create', 'podgate']);
  const tar = join(engine.folder, 'podgate.tar');
  await engine.docker(['export', '--output', tar, container]);
  await engine.docker(['rm', '--volumes', container]);
  const { stdout } = await run('tar', ['-tvf', tar]);
  const files = stdout
    .trim()
    .split('\n')
    .filter((line) => /^[-lh]/.test(line));
  const pathOf = (line: string): string => line.split(/\s+/)[5] ?? '';
  const programs = files.filter((line) => /^-..[xs]/.test(line)).map(pathOf);
  const expected =
    /^(lib|lib64|usr\/lib)\/[^ ]*\.so(\.\d+)*$|^app\/node_modules\/|^app\/bin\/|^usr\/local\/bin\/podgate$/;
  // The engine puts these there for its own use.
  const engines = /^(\.dockerenv|dev\/console|etc\/(hostname|hosts|resolv\.conf))$/;
  const strange = programs.filter((path) => !expected.test(path) && !engines.test(path));
  const shells = files
    .map(pathOf)
    .filter((path) => /(^|\/)(sh|bash|dash|ash|busybox|env|apt|dpkg|su|curl)$/.test(path));
  const withRights = files.filter((line) => /^-(..s|.....s)/.test(line)).map(pathOf);
  const wrong = [...strange, ...shells, ...withRights];
  if (wrong.length > 0) throw new Error(`not expected in it: ${wrong.join(', ')}`);
  if (!programs.includes('usr/local/bin/podgate')) throw new Error(`there is no podgate among ${programs.join(', ')}`);
  const needed = ['bash', 'sh', '/bin/sh'];
  for (const shell of needed) {
    const { code } = await engine.tryDocker(['run', '--rm', '--network', 'none', '--entrypoint', shell, 'podgate']);
    if (code === 0) throw new Error(`${shell} can be started in it`);
  }
  return `${files.length} files`;
}

export async function checkRun(engine: ContainerEngine): Promise<string> {
  const startedMs = performance.now();
  const name = 'cluster-image';
  await engine.docker([
    ...['run', '--detach', '--name', name, ...HARDENED, '--tmpfs', '/tmp:size=16m'],
    ...mountedKeyring(engine),
    'podgate',
  ]);
  await isHealthy(engine, name);
  const healthyMs = performance.now() - startedMs;

  const health = await request(engine, name, { path: '/v3/healthcheck', dataDir: '/data/podgate', host: 'localhost' });
  if (health.status !== 200) throw new Error(`the API answers ${health.status} through the gateway: ${health.body}`);
  const unknown = await request(engine, name, { path: '/', dataDir: '/data/podgate', host: 'none.pods.localhost' });
  if (unknown.status !== 404) throw new Error(`the gateway answers ${unknown.status} for a pod that is not there`);
  const redirect = await engine.inNetworkOf(name, ['curl', '-sSI', 'http://localhost:8080/']);
  if (!/^HTTP\/1.1 30[18] [^]*\nlocation: https:/i.test(redirect)) throw new Error(`port 8080 answers ${redirect}`);

  const code =
    "const fs = require('fs'); const tries = ['/app/x', '/x', '/etc/x'].map((path) => { try { fs.writeFileSync(path, ''); " +
    "return 'written' } catch (error) { return error.code } }); " +
    "console.log(process.getuid(), tries.join(), /CapBnd:\\s*(\\S+)/.exec(fs.readFileSync('/proc/1/status'))[1])";
  const told = await engine.docker(['exec', name, 'node', '-e', code]);
  if (told !== '10001 EROFS,EROFS,EROFS 0000000000000000') throw new Error(`user, root and rights in it: ${told}`);
  const help = await engine.docker(['exec', name, 'podgate', '--help']);
  if (!help.startsWith('Podgate: ')) throw new Error(`podgate --help prints ${help}`);

  const endedMs = await stopInTime(engine, name);
  return `healthy after ${(healthyMs / 1000).toFixed(1)} s, ended in ${(endedMs / 1000).toFixed(1)} s`;
}

/** As Kubernetes mounts a Secret for a group (fsGroup): root's, readable to that group. */
function mountedKeyring(engine: ContainerEngine): readonly string[] {
  const folder = join(engine.folder, 'keyring');
  mkdirSync(folder);
  const path = join(folder, 'secret.key');
  writeFileSync(path, JSON.stringify({ keys: [{ id: 'first', key: randomBytes(32).toString('base64') }] }));
  chownSync(path, 0, 10_001);
  chmodSync(path, 0o440);
  return [
    ...['--volume', `${folder}:/etc/podgate/keyring:ro`],
    ...['--env', 'PODGATE_SECRET_KEY_FILE=/etc/podgate/keyring/secret.key'],
  ];
}

/** With pods: their shell, their user for initdb, and nothing left behind when it ends. */
export async function checkEmbedded(engine: ContainerEngine): Promise<string> {
  const name = 'embedded-image';
  const tmp = ['--tmpfs', '/tmp:size=64m', '--shm-size', '64m'];
  await engine.docker(['run', '--detach', '--name', name, ...HARDENED, ...tmp, 'podgate:embedded']);
  await isHealthy(engine, name);
  const token = await engine.docker(['exec', name, 'cat', '/data/admin.token']);
  for (const pod of [
    { pod_id: 'web', pod_template: 'podgate/hello' },
    { pod_id: 'mypg', pod_template: 'postgres' },
  ]) {
    const answer = await engine.inNetworkOf(name, [
      ...[
        'curl',
        '-sS',
        '--max-time',
        '50',
        '-H',
        `X-Tapis-Token: ${token.trim()}`,
        '-H',
        'Content-Type: application/json',
      ],
      ...['--data', JSON.stringify(pod), 'http://127.0.0.1:8000/v3/pods?wait=routable'],
    ]);
    if (!answer.includes('"status":"success"')) throw new Error(`${pod.pod_id} is not made: ${answer}`);
  }
  const web = await request(engine, name, { path: '/', dataDir: '/data', host: 'web.pods.localhost' });
  if (web.status !== 200) throw new Error(`the web server answers ${web.status}: ${web.body}`);
  const rows = await engine.docker(['exec', name, 'podgate', 'psql', 'mypg', '-c', 'SELECT 6 * 7 AS answer']);
  if (!rows.includes('42')) throw new Error(`the database answers ${rows}`);
  const endedMs = await stopInTime(engine, name);
  return `ended with both in ${(endedMs / 1000).toFixed(1)} s`;
}

async function isHealthy(engine: ContainerEngine, name: string): Promise<void> {
  try {
    await until(
      `${name} is healthy`,
      async () => (await engine.docker(['inspect', '--format', '{{.State.Health.Status}}', name])) === 'healthy',
      { timeoutMs: START_MS, everyMs: 250 },
    );
  } catch (error) {
    const { output } = await engine.tryDocker(['logs', name]);
    throw new Error(`${name} does not become healthy: ${output.slice(-3_000)}`, { cause: error });
  }
}

/** Through the gateway, its certificate verified against the authority in the data directory. */
async function request(
  engine: ContainerEngine,
  name: string,
  { path, dataDir, host }: { readonly path: string; readonly dataDir: string; readonly host: string },
): Promise<{ readonly status: number; readonly body: string }> {
  const read = `process.stdout.write(require('fs').readFileSync('${dataDir}/ca.pem'))`;
  const ca = await engine.docker(['exec', name, 'node', '-e', read]);
  const caPath = join(engine.folder, `${name}.pem`);
  writeFileSync(caPath, ca);
  const answer = await engine.inNetworkOf(name, [
    ...['curl', '-sS', '--max-time', '20', '--cacert', caPath, '--resolve', `${host}:8443:127.0.0.1`],
    ...['--write-out', '\n%{http_code}', `https://${host}:8443${path}`],
  ]);
  const end = answer.lastIndexOf('\n');
  return { status: Number(answer.slice(end + 1)), body: answer.slice(0, end) };
}

async function stopInTime(engine: ContainerEngine, name: string): Promise<number> {
  const startedMs = performance.now();
  await engine.docker(['stop', '--time', '20', name]);
  const tookMs = performance.now() - startedMs;
  const code = await engine.docker(['inspect', '--format', '{{.State.ExitCode}}', name]);
  if (code !== '0') throw new Error(`it ended with ${code} after SIGTERM`);
  if (tookMs > END_MAX_MS) throw new Error(`it took ${Math.round(tookMs)} ms to end after SIGTERM`);
  await engine.docker(['rm', '--volumes', name]);
  return tookMs;
}
