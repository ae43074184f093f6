import { isIP } from 'node:net';
import { connect } from 'node:tls';
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
const DAY_MS = 86_400_000;
/** A renewal takes an operator; the certificate of deploy/redis-certificate.sh is valid for two years. */
const RENEW_DAYS = 30;

export interface RedisToExamine {
  readonly url: string;
  /** As of RedisDatabaseOptions. */
  readonly ca: string | null;
  readonly site: string;
  readonly clock: Clock;
}

/** Examines the Redis of that URL as the store of that site, and changes nothing there. Nothing throws; no finding quotes the URL. */
export async function* examineRedis({ url, ca, site, clock }: RedisToExamine): AsyncGenerator<Finding> {
  let address: RedisAddress;
  let client: RedisClient;
  let isBySentinel: boolean;
  try {
    const target = parseRedisTarget(url);
    isBySentinel = target.kind === 'sentinel';
    address =
      target.kind === 'server' ? target.address : await askSentinels({ ...target, ca, deadlineMs: DEADLINE_MS });
    client = await connectRedis({ address, ca, connectMs: DEADLINE_MS, onLost: () => undefined });
  } catch (error) {
    yield fail('Redis', `It cannot be reached: ${reasonOf(error)}`, 'See PODGATE_REDIS_URL, its Service, and its log.');
    return;
  }
  try {
    const send: SendRaw = (args) => client.send(args, { deadlineMs: DEADLINE_MS });
    const facts = await checkServer(send, address.shown, isBySentinel);
    yield* examineServer(send, address, clock);
    yield address.tls ? await examineCertificate(address, ca, clock) : judgePlaintext(address);
    yield await examineLoading(send, { address, ca, keys: redisKeys(site) });
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
  const apart = `Its clock and this one are ${Math.round(apartMs / 1_000)} s apart.`;
  yield apartMs > CLOCK_MS
    ? warn('Redis clock', apart, 'Synchronize the clocks of the nodes (NTP).')
    : ok('Redis clock', apart);
  if (tookMs > SLOW_MS) {
    yield warn(
      'Redis',
      `It took ${Math.round(tookMs)} ms to tell the time.`,
      'Run it near the gateways, on a disk that is fast to sync.',
    );
  }
}

/** The network between the replicas and Redis sees the password and every record. */
function judgePlaintext({ host, shown }: RedisAddress): Finding {
  const isHere = host === 'localhost' || host === '::1' || host.startsWith('127.');
  return isHere
    ? ok('Redis TLS', 'It is on this machine: no TLS is needed.')
    : warn(
        'Redis TLS',
        `${shown} is in plaintext: anyone who can read the network has the password and every record.`,
        'Use rediss:// with PODGATE_REDIS_CA_FILE; deploy/redis-certificate.sh makes the certificate.',
      );
}

/** How long the certificate is still valid. A client of ours has already verified it. */
async function examineCertificate(address: RedisAddress, ca: string | null, clock: Clock): Promise<Finding> {
  const subject = 'Redis TLS';
  const validToMs = await certificateEnd(address, ca);
  if (validToMs === null)
    return warn(subject, 'Its certificate could not be read.', 'Run the doctor again; see the log of Redis.');
  const days = Math.floor((validToMs - clock.now()) / DAY_MS);
  const message = `Its certificate is valid until ${new Date(validToMs).toISOString().slice(0, 10)}.`;
  return days < RENEW_DAYS
    ? warn(
        subject,
        message,
        'Renew it with deploy/redis-certificate.sh: Podgate does not use Redis once it has expired.',
      )
    : ok(subject, message);
}

/** In ms since the epoch; null = the server did not show one in time. */
function certificateEnd({ host, port }: RedisAddress, ca: string | null): Promise<number | null> {
  return new Promise((resolve) => {
    const servername = isIP(host) === 0 ? host : '';
    const socket = connect({ host, port, servername, timeout: DEADLINE_MS, ...(ca === null ? {} : { ca }) });
    const end = (ms: number | null): void => {
      socket.destroy();
      resolve(ms);
    };
    socket.once('secureConnect', () => end(Date.parse(socket.getPeerCertificate().valid_to)));
    socket.once('error', () => end(null));
    socket.once('timeout', () => end(null));
  });
}

/** Whether the server could read back what it has written. */
async function examineLoading(send: SendRaw, server: ServerAsDefault): Promise<Finding> {
  const subject = 'Redis restart';
  const asked = await loadingRights(send, server.keys);
  const rights = asked.kind === 'unknown' ? await askAsDefault(server) : asked;
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

interface ServerAsDefault {
  readonly address: RedisAddress;
  readonly ca: string | null;
  readonly keys: RedisKeys;
}

async function askAsDefault({ address, ca, keys }: ServerAsDefault): Promise<LoadingRights> {
  const anonymous = { ...address, username: null, password: null };
  let client: RedisClient;
  try {
    client = await connectRedis({ address: anonymous, ca, connectMs: DEADLINE_MS, onLost: () => undefined });
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
