import { describe, expect, it } from 'vitest';
import type { Route } from '../../../core/route.ts';
import { ConnectFailed } from '../../../proxy/dial/connect.ts';
import { dial, type Dial, type Dialed } from '../../../proxy/dial/dial.ts';
import { RouteTable } from '../../../proxy/routes/route-table.ts';

const refused = new ConnectFailed(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
const NEVER = new AbortController().signal;

/** Dials places that are names, and notes what is done. */
class Stage {
  readonly steps: string[] = [];
  /** What `locate` names: one after the other, then the last. */
  places: string[] = ['a'];
  /** Why attempts fail: one after the other, then they succeed. */
  failures: Error[] = [];
  changes: Partial<Dial<string, string>> = {};
  retryMs = 3_000;

  run(signal: AbortSignal = NEVER): Promise<Dialed<string>> {
    const retryUntilMs = performance.now() + this.retryMs;
    return dial<string, string>(
      {
        locate: () => {
          const place = (this.places.length > 1 ? this.places.shift() : this.places[0]) ?? '';
          return place === 'stopped' ? { kind: 'refused', code: 'route.stopped' } : { kind: 'place', place };
        },
        isSame: (a, b) => a === b,
        retryUntilMs: () => retryUntilMs,
        open: (place) => {
          this.steps.push(`open ${place}`);
          const failure = this.failures.shift();
          return failure === undefined ? Promise.resolve(`to ${place}`) : Promise.reject(failure);
        },
        close: (connection) => void this.steps.push(`close ${connection}`),
        ...this.changes,
      },
      signal,
    );
  }
}

describe('dial', () => {
  it('retries attempts that made no connection, whatever the reason, and locates the pod before each', async () => {
    const stage = new Stage();
    stage.failures = [refused, new ConnectFailed(new Error('closed'))];
    stage.places = ['a', 'b', 'c'];
    expect(await stage.run()).toEqual({ kind: 'connected', connection: 'to c' });
    expect(stage.steps).toEqual(['open a', 'open b', 'open c']);
  });

  it('gives up with the last failure once the retry time is over', async () => {
    const stage = new Stage();
    stage.failures = [refused];
    stage.retryMs = 0;
    expect(await stage.run()).toEqual({ kind: 'failed', error: refused });
    expect(stage.steps).toEqual(['open a']);
  });

  it('does not retry an attempt after the pod has sent something', async () => {
    const stage = new Stage();
    const said = Object.assign(new Error('no HTTP/2 is spoken there'), { code: 'NOT_H2C' });
    stage.failures = [said];
    expect(await stage.run()).toEqual({ kind: 'failed', error: said });
    expect(stage.steps).toEqual(['open a']);
  });

  it('closes an unused connection to an address that is no longer the pod’s, and dials the new one', async () => {
    const stage = new Stage();
    stage.places = ['a', 'b', 'b'];
    expect(await stage.run()).toEqual({ kind: 'connected', connection: 'to b' });
    expect(stage.steps).toEqual(['open a', 'close to a', 'open b']);
  });

  it('gives up on a pod that moves for the third time', async () => {
    const stage = new Stage();
    stage.places = ['a', 'b', 'c', 'd', 'e', 'f'];
    expect(await stage.run()).toEqual({ kind: 'moved' });
    expect(stage.steps.filter((step) => step.startsWith('open'))).toHaveLength(3);
    expect(stage.steps.filter((step) => step.startsWith('close'))).toHaveLength(3);
  });

  it('closes an unused connection if the pod has been stopped in the meantime', async () => {
    const stage = new Stage();
    stage.places = ['a', 'stopped'];
    expect(await stage.run()).toEqual({ kind: 'refused', code: 'route.stopped' });
    expect(stage.steps).toEqual(['open a', 'close to a']);
  });

  it('retries an attempt whose connection has already ended', async () => {
    const stage = new Stage();
    const gone = [true, false];
    stage.changes = { isGone: () => gone.shift() ?? false };
    expect(await stage.run()).toEqual({ kind: 'connected', connection: 'to a' });
    expect(stage.steps).toEqual(['open a', 'open a']);
  });

  it('ends with the signal: before an attempt, between two, and with an open connection', async () => {
    expect(await new Stage().run(AbortSignal.abort())).toEqual({ kind: 'aborted' });

    const between = new Stage();
    const stopping = new AbortController();
    between.failures = [refused];
    const pausing = between.run(stopping.signal);
    setImmediate(() => stopping.abort());
    expect(await pausing).toEqual({ kind: 'aborted' });

    const late = new Stage();
    const leaving = new AbortController();
    late.changes = {
      open: () => {
        leaving.abort();
        return Promise.resolve('to a');
      },
    };
    expect(await late.run(leaving.signal)).toEqual({ kind: 'aborted' });
    expect(late.steps).toEqual(['close to a']);
  });

  it('treats errors of locating or opening as a failed attempt, and never rejects', async () => {
    const thrown = new Error('a fault of ours');
    const stage = new Stage();
    stage.changes = {
      locate: () => {
        throw thrown;
      },
    };
    expect(await stage.run()).toEqual({ kind: 'failed', error: thrown });
  });
});

describe('a dial that gets "not yet"', () => {
  const HOST = 'a.pods.localhost';
  const asleep: Route = {
    host: HOST,
    tenant: 'default',
    podId: 'a',
    uid: 'uid-1',
    stanza: 'default',
    protocol: 'tcp',
    status: 'ASLEEP',
    backend: null,
    ipAllowList: [],
    sleep: { holdMs: 60_000, probePaths: [] },
  };
  const awake: Route = {
    ...asleep,
    status: 'RUNNING',
    backend: { uid: 'uid-1', address: '127.0.0.1', port: 1, service: null },
  };

  function waiting(table: RouteTable): Stage {
    const stage = new Stage();
    stage.changes = {
      locate: () => {
        const address = table.get(HOST)?.backend?.address;
        if (address !== undefined) return { kind: 'place', place: address };
        const whenChanged = async (signal: AbortSignal): Promise<'route.unknown' | null> => {
          return (await table.whenRouted(HOST, signal)) === 'live' ? null : 'route.unknown';
        };
        return { kind: 'not-yet', whenChanged };
      },
    };
    return stage;
  }

  it('waits for the route, then dials its address', async () => {
    const table = new RouteTable();
    table.apply([asleep], []);
    const stage = waiting(table);
    const dialing = stage.run();
    expect(stage.steps).toEqual([]);
    table.apply([awake], []);
    expect(await dialing).toEqual({ kind: 'connected', connection: 'to 127.0.0.1' });
  });

  it('is refused with the reason when the wait fails', async () => {
    const table = new RouteTable();
    table.apply([asleep], []);
    const dialing = waiting(table).run();
    table.apply([], [HOST]);
    expect(await dialing).toEqual({ kind: 'refused', code: 'route.unknown' });
  });

  it('ends with the signal', async () => {
    const table = new RouteTable();
    table.apply([asleep], []);
    const leaving = new AbortController();
    const dialing = waiting(table).run(leaving.signal);
    leaving.abort();
    expect(await dialing).toEqual({ kind: 'aborted' });
  });
});
