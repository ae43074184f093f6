import { setTimeout as delay } from 'node:timers/promises';

const PAUSE_MAX_MS = 10;

/**
 * Runs `attempt` until it returns something. Null means that the record has been modified since the attempt read it, so it
 * reads and decides again. Returns null after `most` attempts. From the third attempt on it pauses briefly, so that replicas
 * that collided once do not keep colliding.
 */
export async function compareAndSet<T>(attempt: () => Promise<T | null>, most: number): Promise<T | null> {
  for (let made = 1; made <= most; made += 1) {
    const result = await attempt();
    if (result !== null) return result;
    if (made > 2) await delay(Math.random() * PAUSE_MAX_MS);
  }
  return null;
}
