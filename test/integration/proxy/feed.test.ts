import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FeedClient } from '../../../proxy/routes/feed-client.ts';
import { until } from '../../support/until.ts';
import { FeedStandIn, route, runningRoute, silentLog, systemClock } from './support/gateway-fixture.ts';
import { createStage, echoes } from './support/stage.ts';
import { readAndEnd } from './support/streams.ts';

const { start, echo } = createStage();

describe('the route feed', () => {
  it('may fail and come back: the table stays until then, and is then replaced as a whole', async () => {
    const backend = await echo();
    const {
      connect: open,
      feed,
      gateway,
    } = await start({
      routes: [runningRoute('kept.pods.localhost', backend.port), runningRoute('old.pods.localhost', backend.port)],
    });
    await until('it is reported', () => feed.received.some((message) => message.kind === 'applied'));
    const hello = { kind: 'hello', worker: 1, pid: process.pid, answersTo: ['traffic-asked'] };
    expect(feed.received[0]).toEqual(hello);
    const running = await open('old.pods.localhost');
    expect(await echoes(running)).toBe(true);
    await feed.stop();
    const during = await open('kept.pods.localhost');
    expect(await echoes(during)).toBe(true);
    feed.routes = [runningRoute('kept.pods.localhost', backend.port), runningRoute('new.pods.localhost', backend.port)];
    feed.received.length = 0;
    await feed.start();
    await until('the new table', () => gateway.table.get('new.pods.localhost') !== undefined);
    expect(gateway.table.get('old.pods.localhost')).toBeUndefined();
    await until('it is reported', () => feed.received.some((message) => message.kind === 'applied'));
    expect(feed.received).toEqual([hello, { kind: 'applied', epoch: 'epoch-2', sequence: 7 }]);
    expect(await echoes(running)).toBe(true);
    running.destroy();
    during.destroy();
  });

  it('may come back incomplete, lost or silent: the table stays until a whole snapshot arrives', async () => {
    const { feed, gateway } = await start({ routes: [route('kept.pods.localhost')] });
    await feed.stop();
    let greetings = 0;
    await feed.start((socket) => {
      greetings++;
      const lines: Record<number, string> = {
        1: '{"kind":"hello","epoch":"x","baseHosts":["localhost"]}\n{"kind":"snapshot-begin"}\n{"kind":"routes","routes":[]}\n',
        2: 'no json\n',
        3: '{"kind":"snapshot-end","sequence":1}\n',
        4: '{"kind":"surprise"}\n',
      };
      socket.end(lines[greetings] ?? '');
    });
    await until('all have been tried', () => greetings >= 5);
    expect(gateway.table.get('kept.pods.localhost')).toBeDefined();
    await feed.stop();
  });

  it('applies a change that arrives in pieces of a line', async () => {
    const { feed, gateway } = await start({ routes: [] });
    await feed.stop();
    const text =
      '{"kind":"hello","epoch":"x","baseHosts":["localhost"]}\n{"kind":"snapshot-begin"}\n' +
      `${JSON.stringify({ kind: 'routes', routes: [route('gr\u00f6\u00dfe.pods.localhost')] })}\n{"kind":"snapshot-end","sequence":1}\n`;
    await feed.start((socket) => {
      const bytes = [...Buffer.from(text)];
      const next = (): void => {
        const byte = bytes.shift();
        if (byte !== undefined) socket.write(Buffer.from([byte]), () => setImmediate(next));
      };
      next();
    });
    await until('the route', () => gateway.table.get('gr\u00f6\u00dfe.pods.localhost') !== undefined);
  });

  it('that is away too long makes backends untrusted for new connections, while sessions continue', async () => {
    const backend = await echo();
    let now = 0;
    const {
      connect: open,
      feed,
      gateway,
    } = await start({
      routes: [runningRoute('a.pods.localhost', backend.port)],
      clock: { ...systemClock, monotonicMs: () => now },
      staleAfterMs: 60_000,
    });
    const running = await open('a.pods.localhost');
    expect(await echoes(running)).toBe(true);
    now = 1_000_000;
    expect(gateway.isStale()).toBe(false);
    await feed.stop();
    await until('the loss is noticed', () => {
      now += 1_000;
      return gateway.isStale();
    });
    const client = await open('a.pods.localhost');
    client.write('GET / HTTP/1.1\r\nHost: a.pods.localhost\r\n\r\n');
    expect(String(await readAndEnd(client))).toMatch(/^HTTP\/1\.1 502 /);
    expect(await echoes(running)).toBe(true);
    await feed.start();
    await until('trust is back', () => !gateway.isStale());
    running.destroy();
  });

  it('that hangs with its connection open is abandoned, and its backends do not stay trusted', async () => {
    const feed = new FeedStandIn(join(tmpdir(), `podgate-feed-${randomUUID()}`), [route('a.pods.localhost')], []);
    const stop = new AbortController();
    let snapshots = 0;
    let greetings = 0;
    const client: FeedClient = new FeedClient({
      ...{ socketPath: feed.path, worker: 1, clock: systemClock, log: silentLog, staleAfterMs: 300, silenceMs: 100 },
      greeted: () => {
        greetings += 1;
        expect(client.send({ kind: 'certificate-wanted', host: String(greetings) })).toBe(true);
      },
      sink: {
        setBaseHosts: () => undefined,
        replaceCertificates: () => undefined,
        changeCertificates: () => undefined,
        setChallenges: () => undefined,
        setTicketKeys: () => undefined,
        setPodNetworks: () => undefined,
        setReplicas: () => undefined,
        reportPod: () => null,
        reportTraffic: () => [],
        replaceRoutes: () => (snapshots += 1),
        changeRoutes: () => undefined,
        cancel: () => undefined,
        loginAnswered: () => undefined,
        cancelAnswered: () => undefined,
      },
    });
    const running = client.run(stop.signal);
    try {
      await feed.start();
      await until('it has followed, heard nothing, and followed anew', () => snapshots >= 3);
      const sent = feed.received.flatMap((message) => (message.kind === 'certificate-wanted' ? message.host : []));
      expect(sent.slice(0, 3)).toEqual(['1', '2', '3']);
      await feed.stop();
      // Accepts, and says not a word.
      await feed.start(() => undefined);
      await until('trust is gone', () => client.isStale());
    } finally {
      stop.abort();
      await running;
      await feed.stop();
      rmSync(feed.path, { force: true });
    }
  });
});
