import { setTimeout as delay } from 'node:timers/promises';

const PAUSE_MAX_MS = 10;

/**
 * Runs `attempt` until it returns something; null means that another has written since it read, so it reads and decides
 * anew. Null after `most` attempts. From the third on it pauses for a moment: replicas that collided once should not do so
 * in step.
 */
export async function compareAndSet<T>(attempt: () => Promise<T | null>, most: number): Promise<T | null> {
  for (let made = 1; made <= most; made += 1) {
    const result = await attempt();
    if (result !== null) return result;
    if (made > 2) await delay(Math.random() * PAUSE_MAX_MS);
  }
  return null;
}
