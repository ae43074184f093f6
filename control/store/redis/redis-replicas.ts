import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import {
  type Json,
  type LiveReplica,
  REPLICA_MESSAGE_MAX_BYTES,
  REPLICA_SILENCE_MS,
  REPLICA_TOPICS,
  type ReplicaListener,
  type Replicas,
  type ReplicaTopic,
} from '../../../core/replicas.ts';
import type { RedisConnection } from './redis-connection.ts';
import { arrayOf, splitAtSpace, textOf } from './redis-reply.ts';
import type { RedisSession } from './redis-session.ts';

export interface RedisReplicasOptions {
  /** Without spaces. */
  readonly id: string;
  readonly shared: string;
  readonly session: RedisSession;
  /** Subscribed to the bus; of its own, since one that is subscribed takes no other commands. */
  readonly subscriber: RedisConnection;
  readonly log: Logger;
}

const HEARTBEAT_MS = 1_000;
/** A subscriber that hears nothing cannot tell silence from a dead way: an answer that is late loses the connection. */
const PING_MS = 2_000;

/** What travels: JSON, so that releases may add to it. */
interface Envelope {
  readonly from: string;
  readonly topic: ReplicaTopic;
  readonly message: Json;
}

export interface RedisReplicas extends Replicas {
  /** What the bus has brought: of whomever may publish there, so it is checked. */
  received(text: string): void;
}

export function createRedisReplicas(options: RedisReplicasOptions): RedisReplicas {
  const { id, shared, session, subscriber, log } = options;
  const { connection, keys } = session;
  const agreedKeys = [keys.meta, keys.agreed];
  const listeners = new Map<ReplicaTopic, Set<ReplicaListener>>(REPLICA_TOPICS.map((topic) => [topic, new Set()]));
  const itself: LiveReplica = { id, shared };
  let live: readonly LiveReplica[] = [itself];
  /** When (performance.now) `live` was asked for. */
  let heardAtMs = -Infinity;

  async function beat(): Promise<void> {
    const askedAtMs = performance.now();
    const args = [`${id} ${shared}`, String(REPLICA_SILENCE_MS)];
    const later = { advancesLater: true };
    const heard = await session.run('heartbeat', 'heartbeat', [keys.meta, keys.replicas], args, later);
    // A store that lacks what was seen knows nothing of the replicas that live now: what was heard last stays.
    if (!heard.isTrusted) return;
    const members = arrayOf(heard.answer);
    const others = members.map(parseMember).filter((replica) => replica.id !== id);
    const known = new Set(live.map((replica) => replica.id));
    live = [itself, ...others];
    for (const other of others) {
      if (known.has(other.id) || other.shared === shared) continue;
      log.warn(
        { replica: other.id },
        'another replica has other tenants, another orchestrator or process pods of its own: configure all alike',
      );
    }
    heardAtMs = askedAtMs;
  }

  /** The store may be away for a while: that says nothing about the others. */
  async function every(ms: number, signal: AbortSignal, turn: () => Promise<unknown>): Promise<void> {
    while (!signal.aborted) {
      await turn().catch((error: unknown) => {
        log.debug({ error: errorText(error) }, 'cannot receive messages from the other replicas');
      });
      await sleep(ms, undefined, { signal }).catch(() => undefined);
    }
  }

  return {
    id,
    live: () => live,

    publish(topic, message) {
      const text = JSON.stringify({ from: id, topic, message } satisfies Envelope);
      if (Buffer.byteLength(text) > REPLICA_MESSAGE_MAX_BYTES)
        throw new PodgateError('api.internal', { detail: `a message of ${topic} is too large` });
      // Nothing of it is logged: a cancel holds a key.
      connection.send('publish', ['PUBLISH', keys.bus, text]).catch(() => undefined);
    },

    listen(topic, listener) {
      listeners.get(topic)?.add(listener);
      return () => listeners.get(topic)?.delete(listener);
    },

    received(text) {
      const envelope = parseEnvelope(text);
      if (envelope === null || envelope.from === id) return;
      for (const listener of listeners.get(envelope.topic) ?? []) listener(envelope.message, envelope.from);
    },

    async agree(name, value) {
      // First a look: a full Redis refuses every write, also one that would change nothing.
      const known = await connection.send('agree', ['HGET', keys.agreed, name]);
      if (known !== null) return textOf(known);
      return textOf((await session.run('agree', 'agree', agreedKeys, [name, value])).answer);
    },

    async settle(name, value) {
      await session.run('settle', 'settle', agreedKeys, [name, value]);
    },

    async forget(name) {
      await session.run('forget', 'forget', agreedKeys, [name]);
    },

    async run(signal) {
      await Promise.all([
        every(HEARTBEAT_MS, signal, beat),
        every(PING_MS, signal, () => subscriber.send('ping', ['PING'])),
      ]);
      if (heardAtMs === -Infinity) return;
      await connection.send('leave', ['ZREM', keys.replicas, `${id} ${shared}`]).catch(() => undefined);
    },
  };
}

function parseMember(reply: Parameters<typeof textOf>[0]): LiveReplica {
  const [id, shared] = splitAtSpace(textOf(reply));
  return { id, shared };
}

function parseEnvelope(text: string): Envelope | null {
  // In UTF-16 units, of which none is more than a byte short.
  if (text.length > REPLICA_MESSAGE_MAX_BYTES) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || !('from' in value && 'topic' in value && 'message' in value)) {
    return null;
  }
  const { from, topic, message } = value;
  const known = REPLICA_TOPICS.find((each) => each === topic);
  // What JSON.parse answers is JSON.
  return typeof from === 'string' && known !== undefined ? { from, topic: known, message: message as Json } : null;
}
