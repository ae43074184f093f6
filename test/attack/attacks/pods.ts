import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Attack } from '../attack.ts';
import { COOKIE_SETTER, FLOODING_LOG, intruder, MEMORY_HOG, portThief, VICTIM } from '../programs.ts';
import { pause, type Stage } from '../stage.ts';

const ATTACKER = 'mallory';
const OWNER = 'alice';
const MIB = 1 << 20;
const VOLUMES_PER_USER = 3;
/** A log may have one rotated file beside the current one. */
const LOG_BOUND_MIB = 24;

const requestWithSecret = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: victim.pods.localhost\r\nAuthorization: secret\r\nConnection: close\r\n\r\n`;

const portTheft: Attack = {
  name: 'port-theft',
  summary: "a pod takes a neighbor's port: on [::] beside it, when it closes its listener, and when it crashes",
  async run(stage, scale) {
    const counts: Record<string, number> = { genuine: 0, stolen: 0, other: 0 };
    await stage.createPod(OWNER, { pod_id: 'victim', pod_template: 'podgate/process', command: VICTIM });
    const port = stage.portOf('victim');
    if (port === null) throw new Error('the port of the victim is not known');
    await stage.createPod(ATTACKER, { pod_id: 'thief', pod_template: 'podgate/process', command: portThief(port) });
    await pause(500);
    let isOver = false;
    const client = async (): Promise<void> => {
      while (!isOver) {
        const received = await stage.exchange('victim.pods.localhost', requestWithSecret('/'), 2_000);
        const outcome = received.includes('STOLEN') ? 'stolen' : received.includes('genuine') ? 'genuine' : 'other';
        counts[outcome] = (counts[outcome] ?? 0) + 1;
        await pause(5);
      }
    };
    const clients = Array.from({ length: 4 }, client);
    await pause(1_000);
    if (counts['other'] !== 0) throw new Error('a listener on [::] took the neighbor off the air');
    const crashes = scale === 'full' ? 6 : 1;
    for (let crash = 0; crash < crashes; crash += 1) {
      await stage.exchange('victim.pods.localhost', requestWithSecret('/crash'), 500);
      await pause(2_000);
    }
    await stage.exchange('victim.pods.localhost', requestWithSecret('/close'), 500);
    await pause(2_000);
    isOver = true;
    await Promise.all(clients);
    const log = await stage.logsOf(ATTACKER, 'thief');
    await stage.deletePods(OWNER, 'victim');
    await stage.deletePods(ATTACKER, 'thief');
    if (counts['stolen'] !== 0 || log.includes('STOLE')) throw new Error(`stolen: ${JSON.stringify(counts)}`);
    return counts;
  },
};

const intrusion: Attack = {
  name: 'intrusion',
  summary: "a pod tries its neighbors' ports, the control port, Podgate's files, processes and descriptors",
  async run(stage) {
    const { dataDir, controlPort } = stage.program;
    const ports = { 'a neighbor': stage.portOf('echo') ?? 0, 'the control port': controlPort };
    const files = ['admin.token', 'token.key', 'secret.key', 'podgate.db', 'api.sock'].map((name) =>
      join(dataDir, name),
    );
    const command = intruder({ ports, files: [...files, join(stage.podsRoot, 'workloads')] });
    await stage.createPod(ATTACKER, { pod_id: 'intruder', pod_template: 'podgate/process', command });
    const log = await waitForLog(stage, 'intruder', /tried \d+/);
    await stage.deletePods(ATTACKER, 'intruder');
    const reached = [...log.matchAll(/REACHED (.*)/g)].map(([, what]) => what);
    if (reached.length > 0) throw new Error(`a pod reached ${reached.join('; ')}`);
    return { tried: Number(/tried (\d+)/.exec(log)?.[1]) };
  },
};

const logFlood: Attack = {
  name: 'log-flood',
  summary: 'a pod prints as fast as it can',
  async run(stage, scale) {
    const pod = { pod_id: 'flood', pod_template: 'podgate/process', command: FLOODING_LOG };
    await stage.api(ATTACKER, 'POST', '/v3/pods', pod);
    const untilMs = performance.now() + (scale === 'full' ? 20_000 : 5_000);
    let largest = 0;
    while (performance.now() < untilMs) {
      largest = Math.max(largest, logBytes(stage.podsRoot));
      await pause(20);
    }
    await stage.deletePods(ATTACKER, 'flood');
    if (largest > LOG_BOUND_MIB * MIB) throw new Error(`its log took ${Math.round(largest / MIB)} MiB of disk`);
    return { 'log MiB': Math.round(largest / MIB) };
  },
};

/** The largest sum of the logs of one workload. */
function logBytes(podsRoot: string): number {
  const folder = join(podsRoot, 'workloads');
  const sizes = readdirSync(folder).map((workload) => {
    try {
      return readdirSync(join(folder, workload))
        .filter((name) => name.includes('.log'))
        .reduce((sum, name) => sum + statSync(join(folder, workload, name)).size, 0);
    } catch {
      return 0;
    }
  });
  return Math.max(0, ...sizes);
}

const memoryHog: Attack = {
  name: 'memory-hog',
  summary: 'a pod takes far more memory than its limit',
  async run(stage) {
    await stage.createPod(ATTACKER, {
      pod_id: 'hog',
      pod_template: 'podgate/process',
      command: MEMORY_HOG,
      resources: { mem_request: 256, mem_limit: 256 },
    });
    await pause(4_000);
    const log = await stage.logsOf(ATTACKER, 'hog');
    const held = Math.max(0, ...[...log.matchAll(/holds (\d+) MiB/g)].map(([, mib]) => Number(mib)));
    await stage.deletePods(ATTACKER, 'hog');
    if (held > 256) throw new Error(`a pod with a limit of 256 MiB held ${held} MiB`);
    return { 'held MiB': held };
  },
};

const keptVolumes: Attack = {
  name: 'kept-volumes',
  summary: 'a user creates databases and deletes them with keep_volume=true, again and again',
  program: { configuration: { quotas: { volumesPerUser: VOLUMES_PER_USER } } },
  async run(stage) {
    let kept = 0;
    let refusal = '';
    for (let turn = 0; turn <= VOLUMES_PER_USER && refusal === ''; turn += 1) {
      const podId = `keep${turn}`;
      const created = await stage.api(ATTACKER, 'POST', '/v3/pods?wait=routable', {
        pod_id: podId,
        pod_template: 'postgres',
      });
      const { status, body } =
        created.status === 200 ? await stage.api(ATTACKER, 'DELETE', `/v3/pods/${podId}?keep_volume=true`) : created;
      if (status === 200) kept += 1;
      else refusal = `${status} ${JSON.stringify(body.message)}`;
    }
    if (kept !== VOLUMES_PER_USER || !refusal.startsWith('403 '))
      throw new Error(`a user kept ${kept} volumes, ${VOLUMES_PER_USER} are allowed; the next: ${refusal}`);
    return { kept, 'refused with': refusal };
  },
};

const cookies: Attack = {
  name: 'cookies',
  summary: 'a pod sets cookies for every name above its own',
  async run(stage) {
    await stage.createPod(ATTACKER, { pod_id: 'cookie', pod_template: 'podgate/process', command: COOKIE_SETTER });
    const request = 'GET / HTTP/1.1\r\nHost: cookie.pods.localhost\r\nConnection: close\r\n\r\n';
    const received = await stage.exchange('cookie.pods.localhost', request);
    await stage.deletePods(ATTACKER, 'cookie');
    const set = [...received.matchAll(/^set-cookie: (.*)$/gim)].map(([, cookie]) => cookie ?? '');
    if (set.length !== 4) throw new Error(`expected four cookies: ${received.slice(0, 500)}`);
    const wide = set.filter((cookie) => /domain/i.test(cookie));
    if (wide.length > 0) throw new Error(`cookies for other hosts: ${wide.join(' | ')}`);
    return {};
  },
};

async function waitForLog(stage: Stage, podId: string, pattern: RegExp): Promise<string> {
  for (let turn = 0; turn < 60; turn += 1) {
    const log = await stage.logsOf(ATTACKER, podId);
    if (pattern.test(log)) return log;
    await pause(500);
  }
  throw new Error(`pod ${podId} did not finish: ${await stage.logsOf(ATTACKER, podId)}`);
}

export const POD_ATTACKS: readonly Attack[] = [portTheft, intrusion, logFlood, memoryHog, keptVolumes, cookies];
