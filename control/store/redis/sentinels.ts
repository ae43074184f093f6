import type { LookupFunction } from 'node:net';
import type { RedisAddress } from './redis-address.ts';
import { connectRedis } from './redis-client.ts';
import { isRefusal, safeText, unavailable } from './redis-failure.ts';
import type { Reply } from './redis-reply.ts';

export interface AskSentinelsOptions {
  readonly sentinels: readonly RedisAddress[];
  readonly master: string;
  readonly ca: string | null;
  readonly lookup?: LookupFunction;
  readonly deadlineMs: number;
}

/**
 * Where the master is now, by the word of most Sentinels that answer: one that is cut off may still name the old one.
 * Whether it is a master is looked at there. Not the library's own Sentinel client, which keeps commands for later and
 * bounds neither the asking nor the switching. Throws PodgateError 'store.unavailable'.
 */
export async function askSentinels(options: AskSentinelsOptions): Promise<RedisAddress> {
  const answers = await Promise.allSettled(options.sentinels.map((sentinel) => askOne(sentinel, options)));
  const votes = new Map<string, { readonly address: RedisAddress; count: number }>();
  const problems: string[] = [];
  for (const answer of answers) {
    if (answer.status === 'rejected') problems.push(safeText(answer.reason));
    else {
      const vote = votes.get(answer.value.shown) ?? { address: answer.value, count: 0 };
      vote.count += 1;
      votes.set(answer.value.shown, vote);
    }
  }
  const [best] = [...votes.values()].sort((a, b) => b.count - a.count);
  if (best !== undefined) return best.address;
  throw unavailable('sentinel', `no Sentinel names the master of ${options.master}: ${problems.join('; ')}`);
}

async function askOne(sentinel: RedisAddress, options: AskSentinelsOptions): Promise<RedisAddress> {
  const { master, deadlineMs } = options;
  const question = ['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', master];
  // Sentinels often have no password of their own, and refuse one that they do not ask for.
  const plain = { ...sentinel, username: null, password: null, database: 0 };
  const reply = await ask(plain).catch((error: unknown) => {
    if (!isRefusal(error) || sentinel.password === null) throw error;
    return ask({ ...sentinel, database: 0 });
  });
  const [host, port] = Array.isArray(reply) ? (reply as readonly Reply[]) : [];
  if (typeof host !== 'string' || typeof port !== 'string' || !/^\d+$/.test(port)) {
    throw unavailable('sentinel', `${sentinel.shown} knows no master ${master}`);
  }
  const scheme = sentinel.tls ? 'rediss' : 'redis';
  return { ...sentinel, host, port: Number(port), shown: `${scheme}://${host}:${port}` };

  async function ask(address: RedisAddress): Promise<Reply> {
    const client = await connectRedis({ ...options, address, connectMs: deadlineMs, onLost: () => undefined });
    try {
      return await client.send(question, { deadlineMs });
    } finally {
      client.destroy();
    }
  }
}
