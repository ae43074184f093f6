import { randomUUID } from 'node:crypto';
import { isForbidden, refused, replyCode, safeText, unavailable } from './redis-failure.ts';
import type { RedisKeys } from './redis-keys.ts';
import { arrayOf, integerOf, textOf, type Reply } from './redis-reply.ts';
import type { StoreMark } from '../../../core/store.ts';
import type { RedisScript, RedisScripts } from './redis-scripts.ts';
import { markArguments, parseMarked } from './marked-script.ts';

/** Sends one command; errors come as the client threw them. */
export type SendRaw = (args: readonly string[]) => Promise<Reply>;

const LEAST_VERSION = 7;
/** What must be set, and why. */
const SETTINGS: Readonly<Record<string, { readonly wanted: string; readonly reason: string }>> = {
  appendonly: { wanted: 'yes', reason: 'without its append-only file a crash loses records' },
  appendfsync: { wanted: 'always', reason: 'otherwise a crash loses records that were acknowledged' },
  'no-appendfsync-on-rewrite': { wanted: 'no', reason: 'otherwise that holds only while the file is not rewritten' },
  'maxmemory-policy': { wanted: 'noeviction', reason: 'otherwise a full Redis throws records away' },
};

/** Of this run of a server. */
export interface ServerFacts {
  readonly runId: string;
  /** How often its append-only file has been rewritten in this run; NaN where that cannot be told. */
  readonly appendOnlyRewrites: number;
}

/**
 * Refuses a server on which the laws of Store would not hold: PodgateError 'config.invalid' with sentences that say what
 * to change. `shown` names the server in them. A replica named by Sentinels is 'store.unavailable': a failover is on its
 * way.
 */
export async function checkServer(send: SendRaw, shown: string, isBySentinel: boolean): Promise<ServerFacts> {
  const info = parseInfo(textOf(await permitted(() => send(['INFO']), '+info', shown)));
  const version = info.get('redis_version') ?? 'unknown';
  if (!(Number.parseInt(version, 10) >= LEAST_VERSION)) {
    throw refused(`The Redis at ${shown} has version ${version}; Podgate needs ${LEAST_VERSION} or later.`);
  }
  if (info.get('role') !== 'master') {
    if (isBySentinel) throw unavailable('sentinel', `${shown}, which Sentinel names, is not the master`);
    throw refused(`The Redis at ${shown} is a replica; name the one it copies from.`);
  }
  if (info.get('cluster_enabled') === '1') await refuseManyNodes(send, shown);
  const names = Object.keys(SETTINGS);
  const config = parsePairs(await permitted(() => send(['CONFIG', 'GET', ...names]), '+config|get', shown));
  const wrong = Object.entries(SETTINGS).filter(([name, { wanted }]) => config.get(name) !== wanted);
  if (wrong.length === 0) {
    const rewrites = Number(info.get('aof_rewrites') ?? Number.NaN);
    return {
      runId: info.get('run_id') ?? '',
      // A rewrite that is under way is not counted yet.
      appendOnlyRewrites: info.get('aof_rewrite_in_progress') === '0' ? rewrites : Number.NaN,
    };
  }
  const sentences = wrong.map(
    ([name, { wanted, reason }]) => `${name} is ${config.get(name) ?? 'unknown'} and must be ${wanted}: ${reason}.`,
  );
  throw refused(
    `The Redis at ${shown} would not keep its promises. ${sentences.join(' ')} Set it in redis.conf and restart it. (After a start without appendonly, do not switch it on with CONFIG SET: that overwrites the file that still holds your records.)`,
  );
}

/**
 * One node that has all slots is as good as a single server: all keys of a site lie in one slot anyway. Of several, the
 * one with that slot would have to be found, and found again when it moves.
 */
async function refuseManyNodes(send: SendRaw, shown: string): Promise<void> {
  const info = parseInfo(textOf(await permitted(() => send(['CLUSTER', 'INFO']), '+cluster|info', shown)));
  if (info.get('cluster_size') === '1' && info.get('cluster_slots_ok') === '16384') return;
  throw refused(
    `The Redis at ${shown} is a node of a Redis Cluster of several masters, which this release does not speak to.`,
  );
}

/** Of the keys, as scripts/store-id.lua writes it. */
const LAYOUT = 1;

/**
 * Refuses a store of a newer release, and a user who may not do what the scripts do: PodgateError 'config.invalid'. A
 * new store gets its identity.
 */
export async function checkStore(
  send: SendRaw,
  options: {
    readonly keys: RedisKeys;
    readonly scripts: RedisScripts;
    /** Commits wait for replicas. */
    readonly waits: boolean;
    /** By us: then one that is half full is no reason to refuse. */
    readonly isBeingFilled: boolean;
    /** What this process has seen: a store that lacks it gets nothing of ours, not even an identity. */
    readonly mark: () => StoreMark | null;
  },
  shown: string,
): Promise<void> {
  const { keys, scripts } = options;
  const parametersOf = (scriptKeys: readonly string[], ...args: readonly string[]): readonly string[] => [
    ...[String(scriptKeys.length + 1), ...scriptKeys, keys.history],
    ...[...args, ...markArguments(options.mark())],
  ];
  const run = (script: RedisScript, scriptKeys: readonly string[], ...args: readonly string[]): Promise<Reply> =>
    send(['EVAL', script.text, ...parametersOf(scriptKeys, ...args)]);
  let layout: number;
  let isHalfFull: boolean;
  try {
    const [found, , isFilling] = arrayOf(parseMarked(await run(scripts.identity, [keys.meta], randomUUID())).answer);
    layout = integerOf(found);
    isHalfFull = textOf(isFilling) === '1';
    if (options.waits) await send(['WAIT', '0', '1']);
    await run(scripts.stats, keys.queue);
    // Nobody listens to an empty message.
    await send(['PUBLISH', keys.bus, '']);
    await send(['EVALSHA', scripts.stats.sha, ...parametersOf(keys.queue)]);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    throw refused(
      `The user of PODGATE_REDIS_URL lacks rights in the Redis at ${shown} (${safeText(error)}). Give them: ` +
        `ACL SETUSER <user> ~${keys.all} &${keys.all} +@read +@write +@scripting +publish +subscribe +ping +time +info +config|get +acl|dryrun +wait`,
    );
  }
  if (layout > LAYOUT) {
    throw refused(
      `The store in the Redis at ${shown} was written by a newer release (layout ${layout}, this release knows ${LAYOUT}).`,
    );
  }
  if (isHalfFull && !options.isBeingFilled) {
    throw refused(
      `The Redis at ${shown} is only half filled with the records of another store. Say again, until it is done: podgate migrate`,
    );
  }
}

/** INFO does not tell `appendfsync`, so there is no other way to look. */
async function permitted(send: () => Promise<Reply>, rule: string, shown: string): Promise<Reply> {
  try {
    return await send();
  } catch (error) {
    const code = replyCode(error);
    if (code !== 'NOPERM' && code !== 'ERR') throw error;
    throw refused(
      `The Redis at ${shown} does not let Podgate check its settings (${safeText(error)}). ` +
        `Allow it: ACL SETUSER <user> ${rule}`,
    );
  }
}

function parseInfo(text: string): ReadonlyMap<string, string> {
  const lines = text.split(/\r?\n/).filter((line) => line.includes(':'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

function parsePairs(reply: Reply): ReadonlyMap<string, string> {
  const flat = arrayOf(reply).map(textOf);
  return new Map(flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] ?? '']] : [])));
}
