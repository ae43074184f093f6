import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Program } from '../../test/support/program.ts';
import { run } from '../../test/support/run.ts';
import { HOSTS, type Service } from './peer.ts';
import { LOAD_CORE, PEER_CORE, pinTo, withDescendants } from './processes.ts';

export interface PodgateWithBackends {
  readonly port: number;
  readonly backends: Readonly<Record<Service, number>>;
  readonly postgres: { readonly user: string; readonly password: string };
  /** Of the worker alone: control and supervisor do nothing for a connection. */
  readonly pids: () => readonly number[];
  readonly stop: () => Promise<void>;
}

/** The whole program with one worker, which has the core of what is measured; its pods are everybody's backends. */
export async function startPodgate(setting: {
  readonly directory: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}): Promise<PodgateWithBackends> {
  const { directory, certificateFile, keyFile } = setting;
  const config = join(directory, 'podgate.yaml');
  await writeFile(
    config,
    `certificates: [{certificateFile: ${certificateFile}, keyFile: ${keyFile}}]\naccessLog: {to: off}\n`,
  );
  const program = await Program.start({ workers: 1, env: { PODGATE_CONFIG: config } });
  await program.createPod({
    pod_id: 'bench',
    pod_template: 'podgate/process',
    command: ['node', join(import.meta.dirname, 'backend.mjs')],
    environment_variables: { TELL: 'ports' },
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
  await pinTo(LOAD_CORE, withDescendants(program.pid));
  await pinTo(PEER_CORE, workers());
  return {
    port: program.httpsPort,
    backends: { ...portsOf(program), postgres: await postgresPort(program, user ?? '', password ?? '') },
    postgres: { user: user ?? '', password: password ?? '' },
    pids: workers,
    stop: () => program.dispose(),
  };
}

/** The ports that were allotted to the stanzas, from the environment of the pod's process. */
function portsOf(program: Program): { echo: number; web: number; bulk: number } {
  const pod = withDescendants(program.pid).find((pid) => variableOf(pid, 'TELL') === 'ports');
  if (pod === undefined) throw new Error('the pod is not found');
  const port = (name: string): number => Number(variableOf(pod, name));
  return { echo: port('PORT'), web: port('PORT_WEB'), bulk: port('PORT_BULK') };
}

function variableOf(pid: number, name: string): string | null {
  const entries = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  return entries.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1) ?? null;
}

async function postgresPort(program: Program, user: string, password: string): Promise<number> {
  const through = `host=${HOSTS.postgres} hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=require user=${user} dbname=postgres`;
  const { stdout, stderr } = await run('psql', [through, '-XAtqc', 'select inet_server_port()'], {
    env: { PGPASSWORD: password },
  });
  if (stdout.trim() === '') throw new Error(stderr);
  return Number(stdout.trim());
}
