import { setTimeout as delay } from 'node:timers/promises';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { callApi, refusalOf } from '../target/call-api.ts';
import { addressOf, type Target } from '../target/target.ts';
import { type Pod, podPath, readPod, reasonOf, type Stanza } from './pod.ts';

const START_DEADLINE_MS = 120_000;
const LOOK_EVERY_MS = 200;
/** Assigned to Bolt by IANA; templates and images of Neo4j use it. */
export const BOLT_PORT = 7687;
const ON_ITS_WAY: ReadonlySet<string> = new Set(['REQUESTED', 'SPAWNER_SETUP', 'CREATING_CONTAINER']);

/** What a client needs to know of one stanza of a pod. */
export interface PodAccess {
  /** The host name of the stanza: server name of the TLS connection. */
  readonly host: string;
  readonly port: number;
  /** Where `host` is, in place of a name lookup; null = look it up. */
  readonly address: string | null;
  readonly username: string;
  readonly password: string;
}

/** Waits for a pod that is starting; one that is asleep is woken by the connection that follows. Throws CliError with what to do when it cannot be reached. */
async function runningPod(target: Target, podId: string): Promise<Pod> {
  const deadlineMs = performance.now() + START_DEADLINE_MS;
  for (;;) {
    const pod = await readPod(target, podId);
    if (pod.status === 'RUNNING' || pod.status === 'ASLEEP') return pod;
    if (!ON_ITS_WAY.has(pod.status) || performance.now() > deadlineMs) {
      throw new CliError(
        EXIT_FAILED,
        `pod ${podId} is ${pod.status}${reasonOf(pod)}; start it: podgate start ${podId}`,
      );
    }
    await delay(LOOK_EVERY_MS);
  }
}

/** Where clients reach a stanza. */
export function placeOf(
  target: Target,
  { url, public_port: publicPort }: Stanza,
): Omit<PodAccess, 'username' | 'password'> {
  return { host: url, port: target.gateway?.port ?? publicPort, address: addressOf(target, url) };
}

/** Null: the pod's template makes none. */
export async function credentialsOf(
  target: Target,
  podId: string,
): Promise<{ username: string; password: string } | null> {
  const reply = await callApi(target, { method: 'GET', path: podPath(podId, '/credentials') });
  if (reply.status === 404) return null;
  if (reply.status !== 200) throw refusalOf(target, reply);
  const { user_username: username, user_password: password } = reply.result as Record<string, unknown>;
  if (typeof username !== 'string' || typeof password !== 'string') return null;
  return { username, password };
}

/** A running pod's Postgres. */
export async function postgresAccessOf(target: Target, podId: string): Promise<PodAccess> {
  const isPostgres = ({ protocol }: Stanza): boolean => protocol === 'postgres';
  return await databaseAccessOf(target, podId, isPostgres, { name: 'a Postgres pod', client: 'psql' });
}

/** A running pod's Bolt server. */
export async function boltAccessOf(target: Target, podId: string): Promise<PodAccess> {
  const isBolt = ({ protocol, port }: Stanza): boolean => protocol === 'tcp' && port === BOLT_PORT;
  return await databaseAccessOf(target, podId, isBolt, { name: 'a Neo4j pod', client: 'cypher-shell' });
}

async function databaseAccessOf(
  target: Target,
  podId: string,
  isWanted: (stanza: Stanza) => boolean,
  { name, client }: { readonly name: string; readonly client: string },
): Promise<PodAccess> {
  const pod = await runningPod(target, podId);
  const stanza = Object.values(pod.networking).find(isWanted);
  if (stanza === undefined) throw new CliError(EXIT_FAILED, `pod ${podId} is not ${name}`);
  const credentials = await credentialsOf(target, podId);
  if (credentials === null) {
    throw new CliError(EXIT_FAILED, `pod ${podId} has no credentials; use ${client} with your own`);
  }
  return { ...placeOf(target, stanza), ...credentials };
}
