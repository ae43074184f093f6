import type { TLSSocket } from 'node:tls';
import type { Attack } from '../attack.ts';
import { LOUD } from '../programs.ts';
import { pause, type Stage } from '../stage.ts';

const ATTACKER = 'mallory';
const REFUSED = new Set([403, 413, 429, 503]);

/** Connections that each send one request and never read. */
async function askWithoutReading(stage: Stage, path: string, count: number): Promise<readonly TLSSocket[]> {
  const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nX-Tapis-Token: ${await stage.tokenOf(ATTACKER)}\r\n\r\n`;
  const sockets: TLSSocket[] = [];
  for (let asked = 0; asked < count; asked += 1) {
    const socket = await stage.connect('localhost');
    if (socket === null) continue;
    socket.pause();
    socket.write(request);
    sockets.push(socket);
  }
  return sockets;
}

const unreadLogs: Attack = {
  name: 'unread-logs',
  summary: 'many connections request the largest log there can be and never read the response',
  growthMiB: 250,
  async run(stage, scale) {
    await stage.createPod(ATTACKER, { pod_id: 'loud', pod_template: 'podgate/process', command: LOUD });
    await pause(3_500);
    const count = scale === 'full' ? 150 : 40;
    const sockets = await askWithoutReading(stage, '/v3/pods/loud/logs?tail_bytes=10485760', count);
    await pause(scale === 'full' ? 24_000 : 6_000);
    for (const socket of sockets) socket.destroy();
    await stage.deletePods(ATTACKER, 'loud');
    return { connections: sockets.length };
  },
};

const unreadLists: Attack = {
  name: 'unread-lists',
  summary: 'a user stores as many and as large pods as it can, then requests lists and never reads them',
  growthMiB: 250,
  async run(stage, scale) {
    const wanted = scale === 'full' ? 1_190 : 60;
    const environment = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`NAME_${at}`, 'x'.repeat(600)]));
    const created: string[] = [];
    let refusal = 0;
    while (created.length < wanted && refusal === 0) {
      const pod = { pod_id: `hoard${created.length}`, pod_template: 'podgate/hello', status_requested: 'OFF' };
      const { status } = await stage.api(ATTACKER, 'POST', '/v3/pods', { ...pod, environment_variables: environment });
      if (status === 200) created.push(pod.pod_id);
      else refusal = status;
    }
    if (refusal !== 0 && !REFUSED.has(refusal)) throw new Error(`a create ended with ${refusal}`);
    const sockets = await askWithoutReading(stage, '/v3/pods', scale === 'full' ? 100 : 25);
    await pause(scale === 'full' ? 15_000 : 4_000);
    for (const socket of sockets) socket.destroy();
    await stage.deletePods(ATTACKER, ...created);
    return { 'pods stored': created.length, 'refused with': refusal, connections: sockets.length };
  },
};

const invalidBodies: Attack = {
  name: 'invalid-bodies',
  summary: 'parallel bodies of almost the largest size in which everything is invalid',
  growthMiB: 250,
  async run(stage, scale) {
    const many = (count: number, item: (at: number) => string): string =>
      Array.from({ length: count }, (_, at) => item(at)).join(',');
    const bodies = [
      `{"environment_variables":{${many(40_000, (at) => `"${at}!":"v"`)}}}`,
      `{"networking":{${many(25_000, (at) => `"S${at}":{"x":1}`)}}}`,
      `{"networking":{"default":{"ip_allow_list":[${many(60_000, (at) => `"x${at}"`)}]}}}`,
      `{"command":[${many(200_000, () => '1')}]}`,
      `{"volume_mounts":{${many(20_000, (at) => `"v${at}":{"type":"x"}`)}}}`,
      `{${many(50_000, (at) => `"k${at}":1`)}}`,
    ];
    const token = await stage.tokenOf(ATTACKER);
    const untilMs = performance.now() + (scale === 'full' ? 16_000 : 5_000);
    const statuses: Record<string, number> = {};
    const flood = async (at: number): Promise<void> => {
      for (let turn = at; performance.now() < untilMs; turn += 1) {
        const status = await stage.post('/v3/pods', bodies[turn % bodies.length] ?? '', token);
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, at) => flood(at)));
    if (Object.keys(statuses).some((status) => status !== '400' && !REFUSED.has(Number(status))))
      throw new Error(`statuses: ${JSON.stringify(statuses)}`);
    return { statuses: JSON.stringify(statuses) };
  },
};

const wrongTokens: Attack = {
  name: 'wrong-tokens',
  summary: 'a flood of calls with forged tokens',
  async run(stage, scale) {
    const forged = `${(await stage.tokenOf(ATTACKER)).slice(0, -8)}AAAAAAAA`;
    const untilMs = performance.now() + (scale === 'full' ? 15_000 : 3_000);
    let refused = 0;
    const flood = async (): Promise<void> => {
      while (performance.now() < untilMs) {
        const status = await stage.post('/v3/pods', '{}', forged);
        if (status !== 401 && status !== 429 && status !== 0) throw new Error(`a forged token ended with ${status}`);
        refused += 1;
      }
    };
    await Promise.all(Array.from({ length: 8 }, flood));
    return { refused };
  },
};

export const MEMORY_ATTACKS: readonly Attack[] = [unreadLogs, unreadLists, invalidBodies, wrongTokens];
