import { randomUUID } from 'node:crypto';
import type { Lock } from '../../../core/lock.ts';
import { integerOf } from './redis-reply.ts';
import type { ScriptName } from './redis-scripts.ts';
import type { RedisSession } from './redis-session.ts';

export function createRedisLock({ connection, keys, scripts }: RedisSession): Lock {
  async function run(name: ScriptName, ...args: readonly string[]): Promise<number> {
    // A lease that a failover forgets would be given to another while its holder works on.
    const isReplicated = name === 'acquire-lock';
    return integerOf(await connection.run(name, scripts[name], [keys.meta, keys.locks], args, { isReplicated }));
  }
  return {
    async acquire(name, leaseMs) {
      const token = randomUUID();
      const fence = await run('acquire-lock', name, token, wholeMs(leaseMs));
      return fence === 0 ? null : { name, fence, token };
    },
    async renew({ name, token }, leaseMs) {
      return (await run('renew-lock', name, token, wholeMs(leaseMs))) === 1;
    },
    async release({ name, token }) {
      await run('release-lock', name, token);
    },
  };
}

function wholeMs(ms: number): string {
  return String(Math.ceil(ms));
}
