import { spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readNeo4jPackage } from '../../spawner/orchestrator/process/recipes/neo4j/neo4j-package.ts';
import { ordinaryUser } from '../support/ordinary-user.ts';
import { processTable } from '../support/process-table.ts';
import { freePorts, Program } from '../support/program.ts';
import { until } from '../support/until.ts';

const user = ordinaryUser();
const hasUserNamespaces = spawnSync('unshare', ['--user', '--net', '--', 'true'], user).status === 0;

/** Answers with who it is. A request for /close makes it give up its port and live on. */
const VICTIM = `
const server = require('node:http').createServer((request, response) => {
  response.setHeader('connection', 'close').end('genuine');
  if (request.url === '/close') server.close();
});
server.listen(process.env.PORT, '127.0.0.1');
`;

/** Tries what it is told to, and prints one line of JSON. Then it sits on the victim's port, in every way there is. */
const INTRUDER = `
const fs = require('node:fs');
const net = require('node:net');
const { ports, files, pids, victimPort } = JSON.parse(process.env.TASK);
const dial = ([host, port]) => new Promise((done) => {
  net.connect({ host, port }).on('connect', () => done('connected')).on('error', (error) => done(error.code));
});
const attempt = (work) => { try { work(); return 'done'; } catch (error) { return error.code; } };
const read = (path) => attempt(() => fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path));
Promise.all(ports.map(dial)).then((dialed) => {
  console.log(JSON.stringify({ dialed, files: files.map(read), pids: pids.map((pid) => attempt(() => process.kill(pid, 0))) }));
  for (const host of ['127.0.0.1', '::']) {
    const server = require('node:http').createServer((request, response) => {
      console.log('STOLEN ' + request.headers.authorization);
      response.end('stolen');
    });
    server.on('error', () => undefined).listen({ port: victimPort, host, ipv6Only: true });
  }
  require('node:http').createServer((request, response) => response.end('intruder')).listen(process.env.PORT);
});
`;

describe.skipIf(!hasUserNamespaces)(
  'process pods of a Podgate without root, where the kernel has user namespaces',
  () => {
    let program: Program;
    let dataDir: string;
    const cacheOf = (name: string) => join(dataDir, '.cache/podgate', name);

    beforeAll(async () => {
      dataDir = mkdtempSync(join(tmpdir(), 'podgate-e2e-'));
      chownSync(dataDir, user.uid, user.gid);
      const ports = await freePorts(3);
      program = await Program.prepare({
        dataDir,
        ports,
        user,
        env: {
          PODGATE_ALLOW_SHARED_UID: 'no',
          HOME: dataDir,
          XDG_CACHE_HOME: '',
          JAVA_HOME: cacheOf('java-17'),
          NEO4J_HOME: '',
        },
      });
      await program.start();
    });
    afterAll(async () => {
      await program.dispose();
      rmSync(dataDir, { recursive: true, force: true });
    });

    async function create(podId: string, script: string, task?: object): Promise<void> {
      const created = await program.api('POST', '/v3/pods?wait=routable', {
        pod_id: podId,
        pod_template: 'podgate/process',
        command: ['node', '-e', script],
        ...(task === undefined ? {} : { environment_variables: { TASK: JSON.stringify(task) } }),
      });
      expect(created.status, JSON.stringify(created.body)).toBe(200);
    }

    function ask(podId: string, path = '/'): Promise<string> {
      const host = `${podId}.pods.localhost`;
      return new Promise((resolve, reject) => {
        request(
          {
            host: '127.0.0.1',
            port: program.httpsPort,
            servername: host,
            ca: program.ca,
            agent: false,
            path,
            headers: { host, authorization: 'secret' },
          },
          (answer) => {
            let body = '';
            answer.setEncoding('utf8').on('data', (text: string) => (body += text));
            answer.on('end', () => resolve(answer.statusCode === 200 ? body : String(answer.statusCode)));
          },
        )
          .on('error', reject)
          .end();
      });
    }

    async function logsOf(podId: string): Promise<string> {
      return ((await program.get(`/v3/pods/${podId}/logs`)).body.result as { logs: string }).logs;
    }

    /** What Podgate has written about the workload of a pod. */
    function workloadOf(podId: string): { readonly uid: string; readonly port: number } {
      const workloads = join(dataDir, 'pods', 'workloads');
      for (const uid of readdirSync(workloads)) {
        const { workload, ports } = JSON.parse(readFileSync(join(workloads, uid, 'workload.json'), 'utf8')) as {
          workload: { podId: string };
          ports: { default: number };
        };
        if (workload.podId === podId) return { uid, port: ports.default };
      }
      throw new Error(`${podId} has no workload`);
    }

    it('says so, and admits users who are not administrators', async () => {
      expect(program.output).toMatch(
        /Pods run as processes .*, each with its own network that reaches only the gateway/,
      );
      const token = spawnSync(process.execPath, ['cli/podgate.ts', 'token', '--user', 'bob'], {
        ...user,
        cwd: join(import.meta.dirname, '../..'),
        env: { ...process.env, PODGATE_DATA_DIR: dataDir, HOME: dataDir },
        encoding: 'utf8',
      });
      expect(token.status, token.stderr).toBe(0);
      expect((await program.get('/v3/pods', token.stdout.trim())).status).toBe(200);
    });

    it('no pod reaches another, takes its traffic, or reads its files or those of Podgate', async () => {
      await create('victim', VICTIM);
      expect(await ask('victim')).toBe('genuine');
      const victim = workloadOf('victim');
      await create('intruder', INTRUDER, {
        victimPort: victim.port,
        ports: [
          ['127.0.0.1', victim.port],
          ['::1', victim.port],
          ['127.0.0.1', program.controlPort],
          ['127.0.0.1', program.httpsPort],
        ],
        files: [
          ...['admin.token', 'token.key', 'secret.key', 'podgate.db', 'run'].map((name) => join(dataDir, name)),
          join(dataDir, 'pods', 'volumes', victim.uid),
          '../../../../admin.token',
        ],
        pids: [program.pid, ...program.children('worker').map(({ pid }) => pid)],
      });
      const line = await until('it has tried', async () => (/^\{.*\}$/m.exec(await logsOf('intruder')) ?? [null])[0]);
      const seen = JSON.parse(line) as Record<'dialed' | 'files' | 'pids', string[]>;
      expect(seen.dialed).toEqual(['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED', 'connected']);
      expect(seen.files).toEqual(seen.files.map(() => 'ENOENT'));
      expect(seen.pids).toEqual(seen.pids.map(() => 'ESRCH'));

      for (let times = 0; times < 20; times += 1) expect(await ask('victim')).toBe('genuine');
      expect(await ask('victim', '/close')).toBe('genuine');
      for (let times = 0; times < 20; times += 1) expect(await ask('victim')).toMatch(/^50[23]$/);
      expect(await ask('intruder')).toBe('intruder');
      expect(await logsOf('intruder')).not.toContain('STOLEN');
    });

    it('pods can read what Podgate has downloaded for them, but not change it', async () => {
      const lib = cacheOf(`${readNeo4jPackage().name}/lib`);
      const script =
        `#!/bin/sh\ncat '${lib}/neo4j.jar'\necho planted > '${lib}/planted.jar'\n` +
        `chmod 777 '${lib}'\nrm '${lib}/neo4j.jar'\necho tried\nexec sleep 60\n`;
      mkdirSync(cacheOf('java-17/bin'), { recursive: true });
      mkdirSync(lib, { recursive: true });
      writeFileSync(cacheOf('java-17/release'), 'JAVA_VERSION="17.0.15"\n');
      writeFileSync(cacheOf('java-17/bin/java'), script, { mode: 0o755 });
      writeFileSync(join(lib, 'neo4j.jar'), 'genuine jar\n');
      // Pods of this Podgate run as its own user.
      spawnSync('chown', ['-R', `${user.uid}:${user.gid}`, join(dataDir, '.cache')]);
      await program.api('POST', '/v3/pods', { pod_id: 'mygraph', pod_template: 'neo4j' });
      const logs = await until('it has tried', async () => {
        const text = await logsOf('mygraph');
        return text.includes('tried') ? text : null;
      });
      expect(logs).toContain('genuine jar');
      expect(logs.match(/Read-only file system/g)?.length).toBe(3);
      expect(readdirSync(lib)).toEqual(['neo4j.jar']);
    });

    it('after Podgate was killed, leftover processes are ended, and the pods start again', async () => {
      await create('again', VICTIM);
      const { uid } = workloadOf('again');
      const shims = () =>
        processTable().filter(
          ({ state, commandLine }) => state !== 'Z' && commandLine.some((part) => part.includes(uid)),
        );
      const before = shims().map(({ pid }) => pid);
      expect(before.length).toBeGreaterThan(0);
      // The control child as well: it would end its pods.
      for (const pid of [program.pid, ...program.children('control').map((child) => child.pid)]) {
        process.kill(pid, 'SIGKILL');
      }
      await program.ended();
      await program.start();
      await until('the pod is back', async () => (await ask('again')) === 'genuine', { timeoutMs: 60_000 });
      const left = shims().filter(({ pid }) => before.includes(pid));
      expect(left).toEqual([]);
    });
  },
);
