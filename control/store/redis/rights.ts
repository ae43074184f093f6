import { isForbidden, refused, safeText } from './redis-failure.ts';
import type { RedisKeys } from './redis-keys.ts';
import { arrayOf, textOf, type Reply } from './redis-reply.ts';
import type { RedisScript } from './redis-scripts.ts';

/** The commands by which scripts write, an example of each: they are what the server's append-only file contains. */
export const WRITES: readonly string[] = [
  ...['UNLINK KEY', 'DEL KEY', 'HSET KEY x y', 'HSETNX KEY x y', 'HDEL KEY x', 'HINCRBY KEY x 1', 'RPUSH KEY x'],
  ...['LTRIM KEY 0 1', 'ZADD KEY 0 x', 'ZREM KEY x', 'ZREMRANGEBYSCORE KEY 0 1', 'XADD KEY * x y', 'XTRIM KEY MINID 0'],
  'SETRANGE KEY 0 x',
];
/** All commands that are sent, or called by a script: an example of each, for the server to judge. */
const NEEDED: readonly string[] = [
  ...['INFO', 'CONFIG GET appendonly', 'ACL DRYRUN default PING', 'PING', 'TIME', 'PUBLISH CHANNEL x'],
  ...['SUBSCRIBE CHANNEL', 'EVAL x 1 KEY', 'EVALSHA x 1 KEY', 'EXISTS KEY'],
  ...['HGET KEY x', 'HMGET KEY x', 'HGETALL KEY', 'HKEYS KEY', 'HLEN KEY', 'HEXISTS KEY x'],
  ...['LRANGE KEY 0 1', 'LINDEX KEY 0', 'ZSCORE KEY x', 'ZCARD KEY', 'ZCOUNT KEY 0 1', 'ZRANGE KEY 0 1'],
  ...['XRANGE KEY - +', 'XREVRANGE KEY + -', 'XREAD STREAMS KEY 0', 'GETRANGE KEY 0 1'],
  ...WRITES,
];
/** Only where commits wait for replicas. */
const WAITING = 'WAIT 0 1';

/** The least that the user needs, as ACL SETUSER takes it. */
export function aclRule(keys: RedisKeys, waits: boolean): string {
  const commands = (waits ? [...NEEDED, WAITING] : NEEDED).map(commandOf).map((command) => `+${command}`);
  return `~${keys.all} &${keys.all} ${commands.join(' ')}`;
}

/** Throws PodgateError 'config.invalid' with what is missing, and with the whole rule. */
export async function checkRights(
  send: (args: readonly string[]) => Promise<Reply>,
  options: { readonly keys: RedisKeys; readonly script: RedisScript; readonly waits: boolean; readonly shown: string },
): Promise<void> {
  const { keys, script, waits, shown } = options;
  const needed = waits ? [...NEEDED, WAITING] : NEEDED;
  const refuse = (what: string): Error =>
    refused(
      `The user of PODGATE_REDIS_URL lacks rights in the Redis at ${shown} (${what}). Give them: ` +
        `ACL SETUSER <user> ${aclRule(keys, waits)}`,
    );
  let missing: readonly string[];
  try {
    const reply = await send(['EVAL', script.text, '2', keys.meta, keys.bus, ...needed]);
    missing = arrayOf(reply).map(textOf).map(commandOf);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    throw refuse(safeText(error));
  }
  if (missing.length > 0) throw refuse(missing.join(', '));
}

/** Commands with a name of two words: `CONFIG GET x` is `config|get`. */
const WITH_SUBCOMMANDS: readonly string[] = ['config', 'acl'];

function commandOf(right: string): string {
  const [first = '', second = ''] = right.toLowerCase().split(' ');
  return WITH_SUBCOMMANDS.includes(first) ? `${first}|${second}` : first;
}
