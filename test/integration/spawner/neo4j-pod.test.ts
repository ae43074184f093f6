import { chownSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import neo4j, { type Driver } from 'neo4j-driver';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NetworkAddress } from '../../../core/pod-network.ts';
import type { FilesRef } from '../../../core/volume.ts';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import { preparedNeo4jHome } from '../../../scripts/setup/cache.mjs';
import { probeBoltLogin } from '../../../spawner/orchestrator/process/bolt-probe.ts';
import { neo4jTemplate } from '../../../spawner/templates/neo4j.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { processTable } from '../../support/process-table.ts';
import { until } from '../../support/until.ts';
import {
  portTo,
  processOptions,
  type RunningOrchestrator,
  runProcessOrchestrator,
  temporaryRoot,
} from './process-harness.ts';

/** Of a Neo4j, on a machine that is overloaded. */
const START_MS = 240_000;
const PASSWORD = 'a very Secret pässword';

function neo4jPod(podId: string, change: Partial<WorkloadSpec> = {}): WorkloadSpec {
  const networking = neo4jTemplate.networking ?? {};
  return workloadSpec(
    { template: neo4jTemplate.name, writtenTemplate: 'neo4j', networking },
    {
      podId,
      credentials: { username: 'neo4j', password: PASSWORD },
      hosts: { default: `${podId}.pods.example.org`, browser: `${podId}-browser.pods.example.org` },
      publicHttpsPort: 443,
      ...change,
    },
  );
}

describe('a Neo4j pod where something is missing', () => {
  const { root, remove } = temporaryRoot();
  afterAll(remove);

  const lib = join(root, 'no-jars', 'lib');
  mkdirSync(lib, { recursive: true });
  const noJava = { javaDirectories: [], install: 'auto' } as const;
  const cases = [
    ['no Neo4j, and none is to be downloaded', {}, null, /^No Neo4j is installed .*Run there: podgate install neo4j\./],
    ['NEO4J_HOME leads nowhere', {}, join(root, 'no-jars'), /^NEO4J_HOME names no Neo4j: its lib directory has no/],
    [
      'no Java',
      noJava,
      null,
      /^Neo4j needs Java 17 or 21, and none is found .*Run there: podgate install neo4j \(or, /,
    ],
    [
      'no repository',
      { install: 'auto' },
      null,
      /^Neo4j Community .*\(GPLv3, 128 MB\) could not be installed\. .* tried again in 5 s/,
    ],
  ] as const;

  it.each(cases)('is an error that says what to do, and waits for it: %s', async (_, neo4jSettings, home, message) => {
    const path = 'javaDirectories' in neo4jSettings ? '' : '/usr/bin:/bin';
    const options = processOptions(root, { neo4jHome: home, neo4j: neo4jSettings, path });
    const running = runProcessOrchestrator(options);
    const pod = neo4jPod('mygraph');
    await ensured(running.orchestrator, pod);
    const seen = await becomes(running.orchestrator, pod, 'crashing');
    expect(seen.message).toMatch(message);
    await running.close();
  });

  it('starts by itself once its requirements are installed', async () => {
    // Programs that only show that they were started.
    const java = join(root, 'jvm', 'java-17');
    const running = runProcessOrchestrator(
      processOptions(root, {
        neo4j: { javaDirectories: [join(root, 'jvm')] },
        path: '',
        neo4jHome: join(root, 'no-jars'),
      }),
    );
    const pod = neo4jPod('mygraph');
    await ensured(running.orchestrator, pod);
    expect((await becomes(running.orchestrator, pod, 'crashing')).message).toContain('Java 17 or 21');
    mkdirSync(join(java, 'bin'), { recursive: true });
    writeFileSync(join(java, 'release'), 'JAVA_VERSION="17.0.15"\n');
    writeFileSync(join(java, 'bin', 'java'), '#!/bin/sh\necho started "$@"\nexec /bin/sleep 60\n', { mode: 0o755 });
    await until('it misses the rest', async () => {
      const { message } = await becomes(running.orchestrator, pod, 'crashing');
      return message.startsWith('NEO4J_HOME names no Neo4j');
    });
    writeFileSync(join(lib, 'neo4j.jar'), '');
    await becomes(running.orchestrator, pod, 'starting');
    await until('it runs', async () =>
      (await running.orchestrator.logs(pod, { tailBytes: 10_000 }, never())).includes('CommunityEntryPoint'),
    );
    // It has let nobody in: what it leaves is started over, whatever state it is in.
    const data = join(root, 'pods', 'volumes', pod.uid, 'data');
    mkdirSync(join(data, 'databases'));
    writeFileSync(join(data, 'server_id'), '');
    await running.orchestrator.remove(pod, { data: 'keep', run: 1 }, never());
    await becomesAbsent(running.orchestrator, pod);
    await ensured(running.orchestrator, { ...pod, run: 2 });
    await until('the next start begins anew', () => !existsSync(join(data, 'server_id')));
    await until('all of it', () => !existsSync(join(data, 'databases')));
    expect(existsSync(join(data, 'dbms', 'auth.ini'))).toBe(true);
    // A clone, too, but for what was copied.
    rmSync(join(data, 'podgate-first-start'));
    writeFileSync(join(data, 'podgate-first-start-of-clone'), '');
    const { uid, gid } = statSync(data);
    for (const kind of ['databases', 'transactions']) {
      for (const path of [kind, `${kind}/neo4j`, `${kind}/system`]) {
        mkdirSync(join(data, path), { recursive: true });
        chownSync(join(data, path), uid, gid);
      }
    }
    await running.orchestrator.remove(pod, { data: 'keep', run: 2 }, never());
    await becomesAbsent(running.orchestrator, pod);
    await ensured(running.orchestrator, { ...pod, run: 3 });
    const left = () => ['databases', 'transactions'].flatMap((kind) => readdirSync(join(data, kind)));
    await until('the users are made anew', () => !left().includes('system'));
    expect(left()).toEqual(['neo4j', 'neo4j']);
    await running.close();
  });
});

describe('a Neo4j pod run as a process', () => {
  const { root, remove: removeRoot } = temporaryRoot();
  const home = process.env['NEO4J_HOME'] ?? preparedNeo4jHome();
  let running: RunningOrchestrator;
  let driver: Driver | null = null;

  beforeAll(() => {
    if (!existsSync(join(home, 'lib'))) throw new Error('Neo4j is not prepared: run scripts/setup.mjs --test');
    running = runProcessOrchestrator(processOptions(root, { neo4jHome: home }));
  });
  afterAll(async () => {
    await driver?.close();
    await running.close();
    removeRoot();
  });

  async function started(pod: WorkloadSpec) {
    await ensured(running.orchestrator, pod);
    return becomes(running.orchestrator, pod, 'ready', START_MS);
  }
  async function run(port: number, cypher: string, password = PASSWORD, database = 'neo4j'): Promise<unknown[]> {
    driver = neo4j.driver(`bolt://127.0.0.1:${port}`, neo4j.auth.basic('neo4j', password), {
      maxTransactionRetryTime: 10_000,
    });
    const session = driver.session({ database });
    try {
      return (await session.run(cypher)).records.map((record) => record.toObject());
    } finally {
      await session.close();
      await driver.close();
      driver = null;
    }
  }

  const pod = neo4jPod('mygraph');
  const counted = 'MATCH (n:Kept)-[:NEXT]->(:Other) RETURN toString(count(n)) AS n';

  it('runs Cypher as soon as it is ready, advertises its public name, and keeps its data', async () => {
    await ensured(running.orchestrator, pod);
    const commandLines: string[] = [];
    await until(
      'it is ready',
      async () => {
        commandLines.push(...processTable().map((each) => each.commandLine.join(' ')));
        const now = await running.orchestrator.observe(pod, never());
        return now.kind === 'workload' && now.phase === 'ready';
      },
      { timeoutMs: START_MS, everyMs: 100 },
    );
    expect(commandLines.some((line) => line.includes(pod.uid))).toBe(true);
    expect(commandLines.filter((line) => line.includes(PASSWORD))).toEqual([]);

    const port = await portTo((await becomes(running.orchestrator, pod, 'ready')).addresses['default']);
    // From now on, its data is never taken for that of a first start.
    expect(existsSync(join(root, 'pods', 'volumes', pod.uid, 'data', 'podgate-first-start'))).toBe(false);
    const probed = {
      connect: ({ address, port: at }: NetworkAddress) => connect(at, address),
      place: { address: '127.0.0.1', port },
    };
    const login = (password: string) => probeBoltLogin(probed, { username: 'neo4j', password }, never());
    expect(await login(PASSWORD)).toBe('result');
    // A user may change it: the pod is ready all the same.
    expect(await login('wrong password')).toBe('refused');
    expect(await run(port, "CREATE (n:Kept {answer: '42'}) RETURN n.answer AS answer")).toEqual([{ answer: '42' }]);
    await expect(run(port, 'RETURN 1', 'wrong password')).rejects.toMatchObject({
      code: 'Neo.ClientError.Security.Unauthorized',
    });
    await expect(run(port, 'RETURN 1', 'neo4j')).rejects.toThrow();
    const [addresses] = await run(
      port,
      `SHOW SETTINGS 'server.bolt.advertised_address', 'server.http.advertised_address', 'dbms.usage_report.enabled'
       YIELD value RETURN collect(value) AS values`,
    );
    expect(addresses).toEqual({
      values: ['false', 'mygraph.pods.example.org:443', 'mygraph-browser.pods.example.org:443'],
    });
    const browser = await until('the browser answers', async () => {
      const seen = await becomes(running.orchestrator, pod, 'ready');
      return seen.addresses['browser'];
    });
    const discovery = (await (await fetch(`http://127.0.0.1:${await portTo(browser)}/`)).json()) as Record<
      string,
      string
    >;
    expect(discovery['bolt_direct']).toBe('bolt://mygraph.pods.example.org:443');

    await running.orchestrator.remove(pod, { data: 'keep', run: 1 }, never());
    expect(await becomesAbsent(running.orchestrator, pod)).toEqual({ kind: 'absent', data: true });
    const again = await started({ ...pod, run: 2 });
    expect(await run(await portTo(again.addresses['default']), 'MATCH (n:Kept) RETURN n.answer AS answer')).toEqual([
      { answer: '42' },
    ]);
    const logs = await running.orchestrator.logs(pod, { tailBytes: 100_000 }, never());
    expect(logs).toContain('Started.');
    expect(logs).not.toContain(PASSWORD);
  }, 720_000);

  it.skipIf(process.platform !== 'linux')(
    'is cloned once it is stopped, as is a snapshot of it: a clone has its data, and a password of its own',
    async () => {
      const original = { ...pod, run: 2 };
      const port = await portTo((await started(original)).addresses['default']);
      await run(port, 'CREATE CONSTRAINT FOR (n:Kept) REQUIRE n.id IS UNIQUE');
      await run(port, "UNWIND range(1, 1000) AS id CREATE (:Kept {id: id})-[:NEXT]->(:Other {text: 'x'})");
      await run(port, "CREATE USER mallory SET PASSWORD 'known to mallory' CHANGE NOT REQUIRED", PASSWORD, 'system');
      const { tenant, podId, uid } = pod;
      const password = 'password of the clone';
      const clone = neo4jPod('itsclone', {
        credentials: { username: 'neo4j', password },
        origin: { pod: { tenant, podId, uid }, refusal: null },
      });
      await ensured(running.orchestrator, clone);
      await until('it says what it waits for', async () => {
        const observed = await running.orchestrator.observe(clone, never());
        return observed.kind === 'workload' && observed.message.includes('cannot be copied while it runs');
      });
      const snapshot: FilesRef = { kind: 'snapshot', uid: 'uid-of-snapshot', tenant, id: 'before' };
      const take = () =>
        running.orchestrator.snapshots?.take(
          {
            pod: { tenant, podId, uid },
            ...{ template: neo4jTemplate.name, username: 'neo4j', to: snapshot, sizeLimitMiB: 1024 },
          },
          never(),
        );
      await expect(take()).rejects.toMatchObject({
        code: 'api.conflict',
        publicMessages: expect.arrayContaining([
          expect.stringContaining('cannot be copied while it runs') as string,
        ]) as string[],
      });
      // Killed: what it has not written to its store is in its log alone.
      const server = processTable().find(({ commandLine }) => isServerOf(pod, commandLine));
      process.kill(Number(server?.pid), 'SIGKILL');
      await running.orchestrator.remove(original, { data: 'keep', run: 2 }, never());

      const place = (await becomes(running.orchestrator, clone, 'ready', START_MS)).addresses['default'];
      const own = await portTo(place);
      expect(await run(own, counted, password)).toEqual([{ n: '1000' }]);
      await expect(run(own, 'CREATE (:Kept {id: 7})', password)).rejects.toThrow('already exists');
      expect(await run(own, 'SHOW USERS YIELD user', password, 'system')).toEqual([{ user: 'neo4j' }]);
      for (const other of [PASSWORD, 'neo4j', '']) {
        await expect(run(own, 'RETURN 1', other)).rejects.toMatchObject({
          code: 'Neo.ClientError.Security.Unauthorized',
        });
      }
      const anonymous = neo4j.driver(`bolt://127.0.0.1:${own}`);
      await expect(anonymous.executeQuery('RETURN 1')).rejects.toThrow('Unsupported authentication token');
      await anonymous.close();
      // From now on, its users are never taken for those of a first start.
      const files = readdirSync(join(root, 'pods', 'volumes', clone.uid, 'data'));
      expect(files.filter((name) => name.startsWith('podgate-'))).toEqual([]);

      await take();
      await deleted(original);
      const restored = neo4jPod('restored', {
        credentials: { username: 'neo4j', password },
        origin: { snapshot, refusal: null },
      });
      const restoredPort = await portTo((await started(restored)).addresses['default']);
      expect(await run(restoredPort, counted, password)).toEqual([{ n: '1000' }]);
      await expect(run(restoredPort, 'RETURN 1')).rejects.toMatchObject({
        code: 'Neo.ClientError.Security.Unauthorized',
      });
      await deleted(restored);
      await deleted(clone);

      async function deleted(each: WorkloadSpec): Promise<void> {
        await running.orchestrator.remove(each, { data: 'delete', run: each.run }, never());
        await until('its data is deleted', async () => {
          const seen = await running.orchestrator.observe(each, never());
          return seen.kind === 'absent' && !seen.data;
        });
      }
    },
    720_000,
  );
});

function isServerOf({ uid }: WorkloadSpec, [program = '', ...parameters]: readonly string[]): boolean {
  return program.endsWith('/java') && parameters.some((each) => each.includes(uid));
}
