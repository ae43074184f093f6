import { randomUUID } from 'node:crypto';
import type { Lock } from '../../../core/lock.ts';
import { integerOf } from './redis-reply.ts';
import type { MarkedScriptName } from './redis-scripts.ts';
import type { RedisSession } from './redis-session.ts';

export function createRedisLock(session: RedisSession): Lock {
  const { keys, guard } = session;
  async function run(name: MarkedScriptName, ...args: readonly string[]): Promise<number> {
    // A lease that a failover forgets would be given to another while its holder works on.
    const isReplicated = name === 'acquire-lock';
    const { answer } = await session.run(name, name, [keys.meta, keys.locks], args, { isReplicated });
    return integerOf(answer);
  }
  return {
    async acquire(name, leaseMs) {
      const token = randomUUID();
      const fence = await run('acquire-lock', name, token, wholeMs(leaseMs), String(guard.mark()?.fence ?? 0));
      if (fence === 0) return null;
      guard.fenceGiven(fence);
      return { name, fence, token };
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
