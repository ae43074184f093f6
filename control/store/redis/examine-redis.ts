import type { Clock } from '../../../core/clock.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../../core/finding.ts';
import { parseRedisTarget, type RedisAddress } from './redis-address.ts';
import { connectRedis, type RedisClient } from './redis-client.ts';
import { arrayOf, textOf } from './redis-reply.ts';
import { askSentinels } from './sentinels.ts';
import { checkServer, type SendRaw } from './start-checks.ts';

const DEADLINE_MS = 3_000;
const FULL_PERCENT = 80;
const CLOCK_MS = 5_000;
const SLOW_MS = 50;

/** Looks at the Redis of that URL, and makes nothing there. Nothing throws; no finding quotes the URL. */
export async function* examineRedis(url: string, clock: Clock): AsyncGenerator<Finding> {
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
    await checkServer(send, address.shown, isBySentinel);
    yield* examineServer(send, address, clock);
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
    `Version ${value('redis_version')} at ${shown}${tls ? ', over TLS' : ''}: what is acknowledged is on its disk, and nothing is thrown away.`,
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
