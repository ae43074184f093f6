import { parseRedisUrl } from '../../../control/store/redis/redis-address.ts';
import { connectRedis } from '../../../control/store/redis/redis-client.ts';
import type { Reply } from '../../../control/store/redis/redis-reply.ts';
import type { RedisServer } from '../../support/redis-server.ts';

/** Whoever runs the server. */
export interface Admin {
  send(...args: readonly string[]): Promise<Reply>;
  close(): void;
}

export async function createAdmin(server: RedisServer): Promise<Admin> {
  const address = parseRedisUrl(server.url);
  const client = await connectRedis({ address, ca: null, connectMs: 5_000, onLost: () => undefined });
  return { send: (...args) => client.send(args, { deadlineMs: 5_000 }), close: () => client.destroy() };
}
