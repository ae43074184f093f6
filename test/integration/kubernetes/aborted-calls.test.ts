import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../main/system-clock.ts';
import { createKubeApi, openKubeConfig } from '../../../spawner/orchestrator/kubernetes/api/kube-api.ts';
import { type ControlPlane, controlPlaneProblem, startControlPlane } from '../../support/kubernetes/control-plane.ts';
import { until } from '../../support/until.ts';

const problem = controlPlaneProblem();
const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps';
const CALLS = 200;
const ROUNDS = 10;

describe.skipIf(problem !== null)(`calls to a real API server${problem === null ? '' : ` (${problem})`}`, () => {
  let controlPlane: ControlPlane;
  beforeAll(async () => {
    controlPlane = await startControlPlane();
  });
  afterAll(() => controlPlane.stop());

  /**
   * Over HTTP/2, the API server closed the connection of all calls, and undici threw outside of any of them: vitest fails
   * the run for an error that nobody catches.
   */
  it('that are aborted by the hundred end alone: no watch is cut, and no error is uncaught', async () => {
    const config = openKubeConfig(controlPlane.adminKubeconfigPath);
    const api = createKubeApi({ config, clock: systemClock, deadlineMs: 30_000 });
    const over = new AbortController();
    try {
      const watch = await api.stream(CONFIG_MAPS, { watch: 'true' }, over.signal);
      expect(watch.status).toBe(200);
      let seen = '';
      let watchEnd: string | null = null;
      const watching = (async () => {
        for await (const chunk of watch.chunks) seen += chunk;
      })().then(
        () => (watchEnd = 'it has ended'),
        (error: unknown) => (watchEnd = String(error)),
      );
      for (let round = 0; round < ROUNDS; round += 1) {
        const enough = new AbortController();
        const calls = Array.from({ length: CALLS }, () =>
          api.request({ method: 'GET', path: CONFIG_MAPS }, enough.signal).then(
            ({ status }) => status,
            (error: unknown) => (error as { code?: string }).code,
          ),
        );
        // At another moment of the calls in each round: most have reached the API server, few have been answered.
        await new Promise((resolve) => setTimeout(resolve, round % 10));
        enough.abort();
        const outcomes = new Set(await Promise.all(calls));
        expect([...outcomes].filter((outcome) => outcome !== 200 && outcome !== 'orchestrator.unavailable')).toEqual(
          [],
        );
      }
      expect(watchEnd).toBeNull();
      const created = await api.request(
        { method: 'POST', path: CONFIG_MAPS, body: { metadata: { name: 'after-all-of-it' } } },
        over.signal,
      );
      expect(created.status).toBe(201);
      await until('the watch tells of what was made', () => seen.includes('after-all-of-it'));
      over.abort();
      await watching;
    } finally {
      over.abort();
      api.distrustConnections();
    }
  });
});
