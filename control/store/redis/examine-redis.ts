import type { Clock } from '../../../core/clock.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../../core/finding.ts';
import { parseRedisTarget, type RedisAddress } from './redis-address.ts';
import { connectRedis, type RedisClient } from './redis-client.ts';
import { arrayOf, textOf } from './redis-reply.ts';
import { askSentinels } from './sentinels.ts';
import {
  APPEND_ONLY_RUN,
  AT_RISK,
  loadingRights,
  type LoadingRights,
  loadingRightsAsDefault,
  NOT_SHOWN,
  REPAIR,
  SHOW_IT,
} from './durability.ts';
import { redisKeys, type RedisKeys } from './redis-keys.ts';
import { checkServer, type SendRaw, type ServerFacts } from './start-checks.ts';

const DEADLINE_MS = 3_000;
const FULL_PERCENT = 80;
const CLOCK_MS = 5_000;
const SLOW_MS = 50;

/** Examines the Redis of that URL as the store of that site, and changes nothing there. Nothing throws; no finding quotes the URL. */
export async function* examineRedis(url: string, site: string, clock: Clock): AsyncGenerator<Finding> {
  let address: RedisAddress;
  let client: RedisClient;
  let isBySentinel: boolean;
  try {
    const target = parseRedisTarget(url);
    isBySentinel = target.kind === 'sentinel';
    address =
      target.kind === 'server' ? target.address : await askSentinels({ ...target, ca: null, deadlineMs: DEADLINE_MS });
    client = await connectRedis({ address, ca: null, connectMs: DEADLINE_MS, onLost: () => undefined });
  } catch (error) {
    yield fail('Redis', `It cannot be reached: ${reasonOf(error)}`, 'See PODGATE_REDIS_URL, its Service, and its log.');
    return;
  }
  try {
    const send: SendRaw = (args) => client.send(args, { deadlineMs: DEADLINE_MS });
    const facts = await checkServer(send, address.shown, isBySentinel);
    yield* examineServer(send, address, clock);
    yield await examineLoading(send, address, redisKeys(site));
    yield await examineAppendOnlyFile(send, facts, redisKeys(site));
    if (isBySentinel) yield judgeCopies(textOf(await send(['INFO', 'replication'])));
  } catch (error) {
    yield fail('Redis', reasonOf(error), 'Set it so; it refuses to serve as a store otherwise.');
  } finally {
    client.destroy();
  }
}

async function* examineServer(send: SendRaw, { shown, tls }: RedisAddress, clock: Clock): AsyncGenerator<Finding> {
  const info = textOf(await send(['INFO']));
  const value = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
  yield ok(
    'Redis',
    `Version ${value('redis_version')} at ${shown}${tls ? ', over TLS' : ''}: it writes to disk before it acknowledges, and evicts nothing.`,
  );
  if (value('aof_last_write_status') === 'err') {
    yield fail('Redis', 'Its last write to the append-only file failed.', 'See its log and the space on its volume.');
  }
  const [used, most] = [Number(value('used_memory')), Number(value('maxmemory'))];
  if (most === 0) {
    yield warn(
      'Redis memory',
      'It has no maxmemory: it grows until it is killed.',
      'Set maxmemory below half of the limit of its container.',
    );
  } else {
    const percent = Math.round((used / most) * 100);
    const message = `${percent} % of maxmemory (${Math.round(most / 2 ** 20)} MiB) are in use.`;
    yield percent < FULL_PERCENT
      ? ok('Redis memory', message)
      : warn('Redis memory', message, 'Raise maxmemory and the limit of its container: a full one accepts no records.');
  }

  const askedMs = clock.monotonicMs();
  const [seconds = '0'] = arrayOf(await send(['TIME'])).map(textOf);
  const tookMs = clock.monotonicMs() - askedMs;
  const apartMs = Math.max(0, Math.abs(Number(seconds) * 1_000 - clock.now()) - tookMs - 1_000);
  if (apartMs > CLOCK_MS) {
    const apart = `Its clock and this one are ${Math.round(apartMs / 1_000)} s apart.`;
    yield warn('Redis clock', apart, 'Synchronise the clocks of the nodes (NTP).');
  }
  if (tookMs > SLOW_MS) {
    yield warn(
      'Redis',
      `It took ${Math.round(tookMs)} ms to tell the time.`,
      'Run it near the gateways, on a disk that is fast to sync.',
    );
  }
}

/** Whether the server could read back what it has written. */
async function examineLoading(send: SendRaw, address: RedisAddress, keys: RedisKeys): Promise<Finding> {
  const subject = 'Redis restart';
  const asked = await loadingRights(send, keys);
  const rights = asked.kind === 'unknown' ? await askAsDefault(address, keys) : asked;
  if (rights.kind === 'incomplete') {
    return fail(subject, `${AT_RISK}, who may not run ${rights.missing.join(', ')}.`, REPAIR);
  }
  if (asked.kind === 'unknown') {
    return fail(
      subject,
      `This account may not ask whether records would survive a restart (${asked.reason}).`,
      'Grant it: ACL SETUSER <user> +acl|dryrun; Podgate does not start otherwise.',
    );
  }
  return ok(subject, 'The user "default", with whose rights it reads its file back, may run all that is in there.');
}

async function askAsDefault(address: RedisAddress, keys: RedisKeys): Promise<LoadingRights> {
  const anonymous = { ...address, username: null, password: null };
  let client: RedisClient;
  try {
    client = await connectRedis({ address: anonymous, ca: null, connectMs: DEADLINE_MS, onLost: () => undefined });
  } catch (error) {
    return { kind: 'unknown', reason: reasonOf(error) };
  }
  try {
    return await loadingRightsAsDefault((args) => client.send(args, { deadlineMs: DEADLINE_MS }), keys);
  } finally {
    client.destroy();
  }
}

async function examineAppendOnlyFile(send: SendRaw, facts: ServerFacts, keys: RedisKeys): Promise<Finding> {
  const known = await send(['HGET', keys.meta, APPEND_ONLY_RUN]);
  return facts.appendOnlyRewrites === 0 || (known !== null && textOf(known) === facts.runId)
    ? ok('Redis append-only file', 'It has been on since the server started, so the configuration file has it.')
    : warn('Redis append-only file', NOT_SHOWN, SHOW_IT);
}

/** Of a master that Sentinels name. */
function judgeCopies(info: string): Finding {
  const replicas = Number(/^connected_slaves:(\d+)/m.exec(info)?.[1] ?? 0);
  return replicas > 0
    ? ok('Redis replicas', `${replicas} copy from the master that the Sentinels name.`)
    : fail(
        'Redis replicas',
        'The master that the Sentinels name has no replica: nothing could follow it.',
        'Bring one back.',
      );
}

function reasonOf(error: unknown): string {
  if (error instanceof PodgateError) return error.publicMessages.join(' ');
  return `${errorText(error)}.`;
}
