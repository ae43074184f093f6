import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from '../../test/support/free-ports.ts';
import { Program } from '../../test/support/program.ts';
import { run } from '../../test/support/run.ts';
import { until } from '../../test/support/until.ts';
import { HOSTS, type Service } from './peer.ts';
import { LOAD_CORE, PEER_CORE, pinTo, startServer, withDescendants } from './processes.ts';

const BACKEND = join(import.meta.dirname, 'backend.mjs');

export interface PodgateWithBackends {
  readonly port: number;
  readonly backends: Readonly<Record<Service, number>>;
  readonly postgres: { readonly user: string; readonly password: string };
  /** Of the worker alone: control and supervisor do nothing for a connection. */
  readonly pids: () => readonly number[];
  /** The worker alone. */
  readonly restart: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/**
 * The whole program with one worker, which has the core of what is measured. Others cannot dial its pods, which have networks
 * of their own, so they get the same backend outside of it; only Postgres they reach by the relay for programs of this machine.
 */
export async function startPodgate(setting: {
  readonly directory: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}): Promise<PodgateWithBackends> {
  const { directory, certificateFile, keyFile } = setting;
  const config = join(directory, 'podgate.yaml');
  await writeFile(
    config,
    `certificates: [{certificateFile: ${certificateFile}, keyFile: ${keyFile}}]
accessLog: {to: off}
# All clients have one address here.
limits: {connectionsPerAddress: 10000, connectionsPerPod: 10000, connectionsPerAddressAtPod: 10000}
`,
  );
  const program = await Program.start({ workers: 1, env: { PODGATE_CONFIG: config } });
  await program.createPod({
    pod_id: 'bench',
    pod_template: 'podgate/process',
    command: ['node', BACKEND],
    networking: {
      default: { protocol: 'tcp', port: 5000 },
      web: { protocol: 'http', port: 5001 },
      bulk: { protocol: 'tcp', port: 5002 },
    },
  });
  await program.createPod({ pod_id: 'benchpg', pod_template: 'postgres' });
  const { body } = await program.get('/v3/pods/benchpg/credentials');
  const { user_username: user, user_password: password } = body.result as Record<string, string>;
  const workers = (): readonly number[] => program.children('worker').map(({ pid }) => pid);
  const outside = await backendOutside();
  await pinTo(LOAD_CORE, [...withDescendants(program.pid), ...outside.pids()]);
  await pinTo(PEER_CORE, workers());
  return {
    port: program.httpsPort,
    backends: { ...outside.ports, postgres: await postgresPort(program, user ?? '', password ?? '') },
    postgres: { user: user ?? '', password: password ?? '' },
    pids: workers,
    restart: async () => {
      const [before] = workers();
      if (before === undefined) throw new Error('there is no worker');
      process.kill(before, 'SIGKILL');
      await until('another worker is there', () => workers().some((pid) => pid !== before));
      await program.ready();
      await pinTo(PEER_CORE, workers());
    },
    stop: async () => {
      await outside.stop();
      await program.dispose();
    },
  };
}

async function backendOutside() {
  const [echo = 0, web = 0, bulk = 0] = await freePorts(3);
  const ports = { PORT: String(echo), PORT_WEB: String(web), PORT_BULK: String(bulk) };
  const server = await startServer([process.execPath, BACKEND], bulk, ports);
  return { ...server, ports: { echo, web, bulk } };
}

async function postgresPort(program: Program, user: string, password: string): Promise<number> {
  const through = `host=${HOSTS.postgres} hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=require user=${user} dbname=postgres`;
  const { stdout, stderr } = await run('psql', [through, '-XAtqc', 'select inet_server_port()'], {
    env: { PGPASSWORD: password },
  });
  if (stdout.trim() === '') throw new Error(stderr);
  return Number(stdout.trim());
}
