import { afterEach, describe, expect, it } from 'vitest';
import { type Json, REPLICA_MESSAGE_MAX_BYTES, type Replicas } from '../../core/replicas.ts';
import { until } from '../support/until.ts';

/** Opens one more replica on the store of this test. What was opened is closed after each test by whoever gave it. */
export type OpenReplica = (id: string) => Promise<Replicas>;

export interface ReplicasTraits {
  /** False where a store has one replica only. */
  readonly canBeMany: boolean;
}

/** The laws of `Replicas` (core/replicas.ts), for every implementation. */
export function describeReplicas(name: string, openStore: () => OpenReplica, { canBeMany }: ReplicasTraits): void {
  describe(`Replicas in ${name}`, () => {
    const ending: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (const end of ending.splice(0)) await end();
    });

    interface Running {
      readonly replicas: Replicas;
      readonly heard: { readonly message: Json; readonly from: string }[];
      end(): Promise<void>;
    }

    async function start(open: OpenReplica, id: string): Promise<Running> {
      const replicas = await open(id);
      const stop = new AbortController();
      const running = replicas.run(stop.signal);
      const heard: Running['heard'] = [];
      replicas.listen('routable', (message, from) => heard.push({ message, from }));
      const end = async (): Promise<void> => {
        stop.abort();
        await running;
      };
      ending.push(end);
      return { replicas, heard, end };
    }

    const idsOf = (replicas: Replicas): readonly string[] =>
      replicas
        .live()
        .map(({ id }) => id)
        .sort();

    it('know themselves from the start', async () => {
      const { replicas } = await start(openStore(), 'one');
      expect(replicas.id).toBe('one');
      expect(idsOf(replicas)).toEqual(['one']);
    });

    it('never receive their own messages, and refuse messages that are too large', async () => {
      const { replicas, heard } = await start(openStore(), 'one');
      replicas.publish('routable', 'x'.repeat(REPLICA_MESSAGE_MAX_BYTES - 200));
      if (canBeMany) {
        expect(() => replicas.publish('routable', 'x'.repeat(REPLICA_MESSAGE_MAX_BYTES))).toThrow();
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(heard).toEqual([]);
    });

    it('agree on the first proposal, until it is settled otherwise', async () => {
      const { replicas } = await start(openStore(), 'one');
      expect(await replicas.agree('name', 'first')).toBe('first');
      expect(await replicas.agree('name', 'second')).toBe('first');
      expect(await replicas.agree('other', 'third')).toBe('third');
      await replicas.settle('name', 'fourth');
      expect(await replicas.agree('name', 'fifth')).toBe('fourth');
    });

    it('agree again on what was forgotten, and on nothing else', async () => {
      const { replicas } = await start(openStore(), 'one');
      await replicas.agree('name', 'first');
      await replicas.agree('other', 'kept');
      await replicas.forget('name');
      await replicas.forget('never there');
      expect(await replicas.agree('name', 'second')).toBe('second');
      expect(await replicas.agree('other', 'third')).toBe('kept');
    });

    if (!canBeMany) return;

    it('agree with each other, whichever was first', async () => {
      const open = openStore();
      const [one, two] = [await start(open, 'one'), await start(open, 'two')];
      const answers = await Promise.all([one.replicas.agree('name', 'a'), two.replicas.agree('name', 'b')]);
      expect(new Set(answers).size).toBe(1);
    });

    it('soon list each other, and no longer list a replica that has shut down', async () => {
      const open = openStore();
      const [one, two, three] = [await start(open, 'one'), await start(open, 'two'), await start(open, 'three')];
      for (const { replicas } of [one, two, three]) {
        await until('all three are heard of', () => idsOf(replicas).length === 3, { timeoutMs: 3_000 });
      }
      await three.end();
      await until('two are left', () => idsOf(one.replicas).join() === 'one,two', { timeoutMs: 3_000 });
    });

    it('reach all others with what they publish, by topic', async () => {
      const open = openStore();
      const [one, two, three] = [await start(open, 'one'), await start(open, 'two'), await start(open, 'three')];
      const cancels: Json[] = [];
      const stop = two.replicas.listen('cancel', (message) => cancels.push(message));
      const message = { text: 'ä \u2028 "', list: [1, null, true], deep: { a: {} } };
      one.replicas.publish('routable', message);
      one.replicas.publish('cancel', 'c');
      await until('both hear it', () => two.heard.length > 0 && three.heard.length > 0 && cancels.length > 0);
      expect(two.heard).toEqual([{ message, from: 'one' }]);
      expect(three.heard).toEqual([{ message, from: 'one' }]);
      expect(one.heard).toEqual([]);
      stop();
      one.replicas.publish('cancel', 'again');
      one.replicas.publish('routable', 'last');
      await until('the last is heard', () => two.heard.length > 1);
      expect(cancels).toEqual(['c']);
    });
  });
}
