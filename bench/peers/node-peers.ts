import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { preparedNodePeers } from '../../scripts/setup/cache.mjs';
import { freePorts } from '../../test/support/free-ports.ts';
import { run } from '../../test/support/run.ts';
import type { Peer } from './peer.ts';
import { startServer } from './processes.ts';

const MODULES = join(preparedNodePeers(), 'node_modules');

/** Into the cache, once: nothing of it is ever part of Podgate. */
async function missingModules(): Promise<string | null> {
  const home = preparedNodePeers();
  await mkdir(home, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) {
    await copyFile(join(import.meta.dirname, 'node-peers', name), join(home, name));
  }
  const { code, stderr } = await run('npm', ['ci', '--ignore-scripts', '--silent'], { cwd: home, timeoutMs: 120_000 });
  return code === 0 ? null : `npm ci failed: ${stderr.slice(-500)}`;
}

/** The proxy of JupyterHub, as its users run it. */
export const configurableHttpProxy: Peer = {
  name: 'configurable-http-proxy',
  missing: missingModules,
  async start({ certificateFile, keyFile, backends }) {
    const [web = 0, api = 0] = await freePorts(2);
    const program = join(MODULES, 'configurable-http-proxy', 'bin', 'configurable-http-proxy');
    const where = ['--ip', '127.0.0.1', '--port', String(web), '--api-ip', '127.0.0.1', '--api-port', String(api)];
    const tls = ['--ssl-key', keyFile, '--ssl-cert', certificateFile];
    const rest = ['--default-target', `http://127.0.0.1:${backends.web}`, '--no-prepend-path', '--log-level', 'error'];
    const env = { CONFIGPROXY_AUTH_TOKEN: 'bench' };
    const server = await startServer([process.execPath, program, ...where, ...tls, ...rest], web, env);
    return { ...server, ports: { web }, hasHttp2: false };
  },
};

/** A dozen lines over http-proxy, with a keep-alive agent: what one would write first. */
export const httpProxy: Peer = {
  name: 'http-proxy',
  missing: missingModules,
  async start({ directory, certificateFile, keyFile, backends }) {
    const [web = 0] = await freePorts(1);
    const file = join(directory, 'http-proxy.cjs');
    await writeFile(
      file,
      `const { readFileSync } = require('node:fs');
const { Agent } = require('node:http');
const httpProxy = require(${JSON.stringify(join(MODULES, 'http-proxy'))});
httpProxy.createServer({
  target: 'http://127.0.0.1:${backends.web}',
  xfwd: true,
  agent: new Agent({ keepAlive: true, maxSockets: 64 }),
  ssl: { key: readFileSync(${JSON.stringify(keyFile)}), cert: readFileSync(${JSON.stringify(certificateFile)}) },
}).listen(${web}, '127.0.0.1');
`,
    );
    const server = await startServer([process.execPath, '--no-deprecation', file], web);
    return { ...server, ports: { web }, hasHttp2: false };
  },
};
