import { setTimeout as delay } from 'node:timers/promises';
import { shellWord } from '../../core/shell-word.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { callApi, type Installation } from '../installation.ts';

const START_DEADLINE_MS = 120_000;
const LOOK_EVERY_MS = 200;
const ON_ITS_WAY: ReadonlySet<unknown> = new Set(['REQUESTED', 'SPAWNER_SETUP', 'CREATING_CONTAINER']);

/** What a Postgres client needs to know of a pod. */
export interface PostgresAccess {
  /** The pod's host name: server name of the TLS connection. */
  readonly host: string;
  readonly username: string;
  readonly password: string;
}

interface Pod {
  readonly status?: unknown;
  readonly status_container?: { readonly message?: unknown };
  readonly networking?: Readonly<Record<string, { readonly protocol?: unknown; readonly url?: unknown }>>;
}

/** Asks the API, waiting for a pod that is starting. Throws CliError with what to do when it cannot be reached. */
export async function postgresAccessOf(installation: Installation, podId: string): Promise<PostgresAccess> {
  const path = `/v3/pods/${encodeURIComponent(podId)}`;
  const pod = await runningPod(installation, podId, path);
  const stanza = Object.values(pod.networking ?? {}).find(({ protocol }) => protocol === 'postgres');
  if (typeof stanza?.url !== 'string') throw new CliError(EXIT_FAILED, `pod ${podId} is no Postgres`);
  const { status, message, result } = await callApi(installation, `${path}/credentials`);
  if (status !== 200) throw new CliError(EXIT_FAILED, message);
  const { user_username: username, user_password: password } = result as Record<string, unknown>;
  if (typeof username !== 'string' || typeof password !== 'string') {
    throw new CliError(EXIT_FAILED, `pod ${podId} has no credentials; use psql with your own`);
  }
  return { host: stanza.url, username, password };
}

async function runningPod(installation: Installation, podId: string, path: string): Promise<Pod> {
  const deadlineMs = performance.now() + START_DEADLINE_MS;
  for (;;) {
    const { status, message, result } = await callApi(installation, path);
    if (status !== 200) throw new CliError(EXIT_FAILED, status === 404 ? `there is no pod ${podId}` : message);
    const pod = result as Pod;
    if (pod.status === 'RUNNING') return pod;
    if (!ON_ITS_WAY.has(pod.status) || performance.now() > deadlineMs) {
      const start = `http://127.0.0.1:${installation.controlPort}${path}/start`;
      throw new CliError(
        EXIT_FAILED,
        `pod ${podId} is ${String(pod.status)}${reasonOf(pod)}; start it: curl -H "X-Tapis-Token: $(cat ${shellWord(`${installation.config.dataDir}/admin.token`)})" ${start}`,
      );
    }
    await delay(LOOK_EVERY_MS);
  }
}

function reasonOf(pod: Pod): string {
  const message = pod.status_container?.message;
  return pod.status === 'ERROR' && typeof message === 'string' && message !== '' ? ` (${message})` : '';
}
