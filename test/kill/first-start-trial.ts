import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { preparedNeo4jHome } from '../../scripts/setup/cache.mjs';
import { becomes, becomesAbsent, ensured, never } from '../contract/orchestrator-harness.ts';
import {
  portTo,
  processOptions,
  runProcessOrchestrator,
  temporaryRoot,
} from '../integration/spawner/process-harness.ts';
import { Chance } from '../sim/scheduler.ts';
import { processesWithVariable } from '../support/process-table.ts';
import { startTestCluster } from '../support/kubernetes/index.ts';
import { preparePodNamespace, runKubernetesOrchestrator } from '../support/kubernetes-orchestrator.ts';
import { until } from '../support/until.ts';
import { answersQuery, type Database, databasePod, isDatabase } from './database-pods.ts';
import { type FirstStartStage, START_TIMEOUT_MS } from './first-start-stage.ts';
import { openRealNodeStage } from './real-node-stage.ts';

const HELP = `first-start-trial: kills the first start of a database at random moments, starts it again, and requires that
its user can log in and write as soon as the pod is ready.

  node test/kill/first-start-trial.ts --database postgres|neo4j [--orchestrator process|kubernetes|real-node] [--times 30] [--seed N]

kubernetes is the stand-in of test/support/kubernetes; real-node takes root, and minutes to build its programs the first time.

Exit codes: 0 all held, 1 something did not, 2 usage error.`;

const WORKLOAD = 'PODGATE_WORKLOAD';
const NAMESPACE = 'first-starts';

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      database: { type: 'string', default: '' },
      orchestrator: { type: 'string', default: 'process' },
      times: { type: 'string', default: '30' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const { database, orchestrator } = values;
  const [times, seed] = [Number(values.times), Number(values.seed)];
  const open = STAGES.get(orchestrator);
  if (!isDatabase(database) || open === undefined || ![times, seed].every(Number.isInteger)) {
    console.error(HELP);
    return 2;
  }
  const chance = new Chance(seed);
  const stage = await open(database);
  let problems = 0;
  try {
    const wholeMs = await stage.measure();
    console.log(
      `first starts of ${database} (${orchestrator}): ${Math.round(wholeMs)} ms, ${times} kills, seed ${seed}`,
    );
    for (let kill = 1; kill <= times; kill += 1) {
      const delayMs = Math.round(chance.next() * wholeMs * 1.1);
      try {
        await stage.kill(delayMs);
        console.log(`  ${kill}: killed after ${delayMs} ms, whole again`);
      } catch (error) {
        problems += 1;
        console.error(`PROBLEM: ${kill}: killed after ${delayMs} ms: ${String(error)}`);
      }
    }
  } finally {
    await stage.close();
  }
  console.log(`first starts of ${database} (${orchestrator}): ${times} kills, ${problems} problems`);
  return problems === 0 ? 0 : 1;
}

/** Kills the program that owns the orchestrator and everything that it has started, as a power cut would. */
async function openProcessStage(database: Database): Promise<FirstStartStage> {
  const { root, remove: removeRoot } = temporaryRoot();
  const installation = `test-${randomUUID()}`;
  const neo4jHome = process.env['NEO4J_HOME'] ?? preparedNeo4jHome();
  const open = () => runProcessOrchestrator(processOptions(root, { installation, neo4jHome }));
  const begin = async (uid: string) => {
    const args = [join(import.meta.dirname, 'first-start-owner.ts'), root, installation, database, uid, neo4jHome];
    const owner = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => owner.stdout.once('data', resolve));
    return owner;
  };
  const finish = async (uid: string) => {
    const running = open();
    try {
      const pod = databasePod(database, { uid, run: 2 });
      await ensured(running.orchestrator, pod);
      const seen = await becomes(running.orchestrator, pod, 'ready', START_TIMEOUT_MS);
      await answersQuery(database, '127.0.0.1', await portTo(seen.addresses['default']));
      await running.orchestrator.remove(pod, { data: 'delete', run: 2 }, never());
      await becomesAbsent(running.orchestrator, pod);
    } finally {
      await running.close();
    }
  };
  return {
    measure: async () => {
      await finish(randomUUID());
      const begunMs = performance.now();
      await finish(randomUUID());
      return performance.now() - begunMs;
    },
    kill: async (delayMs) => {
      const uid = randomUUID();
      const owner = await begin(uid);
      await sleep(delayMs);
      owner.kill('SIGKILL');
      for (const { pid, value } of processesWithVariable(WORKLOAD)) {
        if (value.startsWith(`${installation}/`)) killNow(pid);
      }
      await finish(uid);
    },
    close: () => {
      removeRoot();
      return Promise.resolve();
    },
  };
}

function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** Kills the container, which its node starts again on the same volume. */
async function openClusterStage(database: Database): Promise<FirstStartStage> {
  const cluster = await startTestCluster({ timings: { crashBackOffMs: 50, crashBackOffMaxMs: 500 } });
  const handle = runKubernetesOrchestrator(await preparePodNamespace(cluster, NAMESPACE), {
    settings: { namespace: NAMESPACE },
  });
  const { orchestrator } = handle;
  const run = async (delayMs: number | null) => {
    const pod = databasePod(database);
    const begunMs = performance.now();
    await ensured(orchestrator, pod);
    if (delayMs !== null) {
      await becomes(orchestrator, pod, 'starting', START_TIMEOUT_MS);
      await sleep(delayMs);
      cluster.kubelet.crash(NAMESPACE, `pods-test-dev-${pod.podId}`);
      await until('it has been restarted', async () => {
        const seen = await orchestrator.observe(pod, never());
        return seen.kind === 'workload' && seen.restarts > 0;
      });
    }
    const seen = await becomes(orchestrator, pod, 'ready', START_TIMEOUT_MS);
    const readyMs = performance.now() - begunMs;
    const place = seen.addresses['default'];
    if (place === undefined) throw new Error('the pod has no address');
    await answersQuery(database, place.address, place.port);
    await orchestrator.remove(pod, { data: 'delete', run: 1 }, never());
    await becomesAbsent(orchestrator, pod);
    return readyMs;
  };
  return {
    measure: () => run(null),
    kill: async (delayMs) => {
      await run(delayMs);
    },
    close: async () => {
      await handle.close();
      await cluster.stop();
    },
  };
}

const STAGES: ReadonlyMap<string, (database: Database) => Promise<FirstStartStage>> = new Map([
  ['process', openProcessStage],
  ['kubernetes', openClusterStage],
  ['real-node', openRealNodeStage],
]);

process.exitCode = await main();
