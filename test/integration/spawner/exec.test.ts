import { readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import { becomes, ensured, never } from '../../contract/orchestrator-harness.ts';
import {
  asRoot,
  processOptions,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
  walls,
} from './process-harness.ts';

/** Some names that a script around the command might want for itself. */
const VARIABLES = { size: '10', code: '11', ready: '12', end: '13', group: '14' };
const SURROUNDINGS = `
  const { readlinkSync, readFileSync } = require('node:fs');
  const ns = (name) => readlinkSync('/proc/self/ns/' + name);
  const status = readFileSync('/proc/self/status', 'utf8');
  const line = (name) => status.split('\\n').find((each) => each.startsWith(name + ':'));
  console.log(JSON.stringify({
    namespaces: ['net', 'ipc', 'pid', 'mnt', 'user'].map(ns),
    groups: readFileSync('/proc/self/cgroup', 'utf8'),
    identity: ['Uid', 'Gid', 'Groups', 'CapEff', 'CapBnd', 'NoNewPrivs'].map(line),
    cwd: process.cwd(),
    home: process.env.HOME,
    port: process.env.PORT,
    variables: ${JSON.stringify(Object.keys(VARIABLES))}.map((name) => process.env[name]),
  }));
`;

describe('a command in a process pod', () => {
  const { root, remove } = temporaryRoot();
  let running: RunningOrchestrator;
  let pod: WorkloadSpec;
  beforeAll(async () => {
    running = runProcessOrchestrator(processOptions(root));
    pod = scriptPod(SURROUNDINGS + SERVE, { environmentVariables: VARIABLES });
    await ensured(running.orchestrator, pod);
    await becomes(running.orchestrator, pod, 'ready');
  });
  afterAll(async () => {
    await running.close();
    remove();
  });

  it.runIf(process.platform === 'linux')('has the namespaces, user, limits and directory of its program', async () => {
    const result = await running.orchestrator.shell.exec(
      pod,
      { command: [process.execPath, '-e', SURROUNDINGS], outputMaxBytes: 64 * 1024, deadlineMs: 30_000 },
      never(),
    );
    if (result.kind !== 'ended') throw new Error(JSON.stringify(result));
    const ofProgram = JSON.parse(await running.orchestrator.logs(pod, { tailBytes: 64 * 1024 }, never())) as object;
    const ofCommand = JSON.parse(Buffer.from(result.stdout).toString()) as { namespaces: string[]; identity: string[] };
    expect(ofCommand).toEqual(ofProgram);
    if (walls.hasNamespaces) expect(ofCommand.namespaces).not.toContain(readlinkSync('/proc/self/ns/net'));
    if (asRoot) expect(ofCommand.identity[0]).not.toMatch(/\b0\b/);
  });
});
