import { openRedisDatabase, type RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { parseRedisUrl } from '../../../control/store/redis/redis-address.ts';
import { connectRedis, type RedisClient } from '../../../control/store/redis/redis-client.ts';
import type { Reply } from '../../../control/store/redis/redis-reply.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Change, Put, Store } from '../../../core/store.ts';
import { podRecord } from '../../support/pod-records.ts';
import { RedisServer, type RedisServerOptions } from '../../support/redis-server.ts';
import { silentLog } from '../../support/silent-log.ts';

export const SITE = 'test';
/** Short, so that a test of a server that does not answer is short. */
export const DEADLINE_MS = 500;

type Options = Partial<Parameters<typeof openRedisDatabase>[0]>;

/** A real Redis and databases on it, all of which `end` closes. */
export async function createRedisStage(options: RedisServerOptions = {}) {
  const server = await RedisServer.start(options);
  const opened: RedisDatabase[] = [];
  const clients: RedisClient[] = [];
  return {
    server,
    open: async (more: Options = {}): Promise<RedisDatabase> => {
      const database = await openRedisDatabase({
        url: server.url,
        site: SITE,
        log: silentLog,
        deadlineMs: DEADLINE_MS,
        patienceMs: 100,
        ...more,
      });
      opened.push(database);
      return database;
    },
    /** A command of whoever runs the server. */
    admin: async (...args: readonly string[]): Promise<Reply> => {
      const address = parseRedisUrl(server.url);
      const client = await connectRedis({ address, ca: null, connectMs: 5_000, onLost: () => undefined });
      clients.push(client);
      return client.send(args, { deadlineMs: 5_000 });
    },
    end: async (): Promise<void> => {
      for (const database of opened) database.close();
      for (const client of clients) client.destroy();
      await server.dispose();
    },
  };
}
export type RedisStage = Awaited<ReturnType<typeof createRedisStage>>;

export function putPod(key: string, expected: Put['expected'], description = ''): Put {
  const record = podRecord({ podId: key });
  const value = { ...record, spec: { ...record.spec, description } };
  return { kind: 'pod', key, expected, value, tenant: 'default', indexes: ['user:alice'] };
}

/** 'done', or the code of the error. */
export async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'done';
  } catch (error) {
    return error instanceof PodgateError ? error.code : String(error);
  }
}

/** The next changes after a commit, one at a time. */
export function read(store: Store, after: number): { next(): Promise<Change>; stop(): Promise<void> } {
  const aborting = new AbortController();
  const changes = store.changes(after, aborting.signal)[Symbol.asyncIterator]();
  return {
    async next() {
      const result = await changes.next();
      if (result.done === true) throw new Error('the feed has ended');
      return result.value;
    },
    async stop() {
      aborting.abort();
      await changes.return?.();
    },
  };
}
