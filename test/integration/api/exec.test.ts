import { createServer } from 'node:http';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { DEFAULT_OPERATION_LIMITS } from '../../../control/http/operation.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Shell } from '../../../core/shell.ts';

import { until } from '../../support/until.ts';
import { becomes, ensured } from '../../contract/orchestrator-harness.ts';
import { processOptions, runProcessOrchestrator, scriptPod, SERVE, temporaryRoot } from '../spawner/process-harness.ts';
import type { RunningOrchestrator } from '../spawner/process-harness.ts';
import { HttpGateway } from '../proxy/http/http-gateway.ts';
import { ApiStand } from './api-stand.ts';

interface Results {
  readonly execution_results: readonly {
    readonly command: readonly string[];
    readonly stdout: string;
    readonly stderr: string;
    readonly success: boolean;
    readonly exit_code: number | null;
    readonly reason: string;
    readonly duration_sec: number;
  }[];
  readonly total_commands: number;
  readonly successful_commands: number;
}

const { root, remove } = temporaryRoot();
let running: RunningOrchestrator;
let stand: ApiStand;
/** Of the one command whose connection to its pod breaks off. */
const BREAKS = 'breaks-off';
const SILENCE_MS = 200;
const API_ANSWER_MS = 2_000;

beforeAll(async () => {
  running = runProcessOrchestrator(processOptions(root));
  const { orchestrator } = running;
  const shell: Shell = {
    ...orchestrator.shell,
    exec: async (ref, options, signal) => {
      const result = await orchestrator.shell.exec(ref, options, signal);
      if (options.command.includes(BREAKS)) throw new PodgateError('orchestrator.unavailable');
      return result;
    },
  };
  stand = await ApiStand.start({
    orchestrator: { logs: (...asked) => orchestrator.logs(...asked), shell, output: orchestrator.output },
    operationLimits: { ...DEFAULT_OPERATION_LIMITS, silenceMs: SILENCE_MS },
  });
  await stand.create('alice', 'mypod');
  const { tenant, podId, uid } = await stand.record('mypod');
  const workload = scriptPod(SERVE, { environmentVariables: { GREETING: 'hello' } }, { tenant, podId, uid });
  await ensured(running.orchestrator, workload);
  await becomes(running.orchestrator, workload, 'ready');
});
afterAll(async () => {
  try {
    await stand.close();
  } finally {
    await running.close();
    remove();
  }
});

const exec = (user: string, body: unknown, podId = 'mypod') => stand.call(user, 'POST', `/v3/pods/${podId}/exec`, body);
const resultsOf = async (body: object): Promise<Results> => {
  const answer = await exec('alice', body);
  expect(answer).toMatchObject({ status: 200 });
  return answer.body.result as Results;
};

test('runs one command, or several in order, with the environment of the pod', async () => {
  const one = await exec('alice', { commands: ['sh', '-c', 'echo "$GREETING $1"; echo oh >&2', 'sh', 'a b'] });
  expect(one.body).toMatchObject({
    message: 'All commands completed.',
    result: {
      execution_results: [{ stdout: 'hello a b\n', stderr: 'oh\n', success: true, exit_code: 0, reason: '' }],
      total_commands: 1,
      successful_commands: 1,
    },
  });
  const several = await resultsOf({
    commands: [
      ['sh', '-c', 'exit 7'],
      ['sh', '-c', 'kill -9 $$'],
      ['wc', '-c'],
    ],
    fail_on_non_success: false,
    stdin: 'päss',
  });
  expect(several.execution_results.map(({ exit_code: code }) => code)).toEqual([7, 137, 0]);
  expect(several.execution_results[2]?.stdout.trim()).toBe('5');
  expect([several.total_commands, several.successful_commands]).toEqual([3, 1]);
});

test('stops at a failure unless configured otherwise, at its time limits, and at too much output', async () => {
  const failed = await exec('alice', { commands: [['false'], ['echo', 'no']] });
  expect(failed.body.message).toMatch(/^Execution stopped due to command failure on latest command\./);
  expect((failed.body.result as Results).execution_results).toHaveLength(1);
  const late = await resultsOf({ commands: ['sleep', '600'], command_timeout: '1', total_timeout: null });
  expect(late.execution_results[0]).toMatchObject({
    exit_code: null,
    success: false,
    reason: expect.stringMatching(/^Ended after 1 s/) as string,
  });
  const all = await exec('alice', {
    commands: [['sleep', '600'], ['true']],
    total_timeout: 1,
    fail_on_non_success: false,
  });
  expect(all.body.message).toMatch(/^Execution stopped at total_timeout/);
  const printed = await resultsOf({ commands: ['yes'] });
  expect(printed.execution_results[0]).toMatchObject({
    exit_code: null,
    reason: 'Ended since it printed more than 1048576 bytes.',
  });
  expect(printed.execution_results[0]?.stdout).toHaveLength(1_048_576);
  const yes = Array.from({ length: 6 }, () => ['yes']);
  const most = await exec('alice', { commands: yes, fail_on_non_success: false });
  expect(most.body.message).toMatch(/printed too much/);
  expect((most.body.result as Results).execution_results).toHaveLength(4);
});

test('needs ADMIN, and is recorded in action_logs without the arguments', async () => {
  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'USER' });
  expect((await exec('bob', { commands: ['true'] })).status).toBe(403);
  expect((await exec('carol', { commands: ['true'] })).status).toBe(403);
  expect((await exec('alice', { commands: ['true'] }, 'nopod')).status).toBe(404);
  await resultsOf({ commands: ['echo', 'a-secret'] });
  const { action_logs: actions } = (await stand.call('alice', 'GET', '/v3/pods/mypod/logs')).body.result as {
    action_logs: readonly string[];
  };
  expect(actions.at(-1)).toMatch(/: 'alice' ran a command: echo$/);
  expect([...actions, ...stand.logLines].join('\n')).not.toContain('a-secret');
});

test('rejects invalid fields by name, and returns 409 if the pod cannot run commands', async () => {
  for (const [body, problem] of [
    [{}, /^commands: is required/],
    [{ commands: [] }, /^commands: must have at least one command/],
    [{ commands: [['']] }, /^commands\.0: must name a program/],
    [{ commands: [['a'], 'b'] }, /^commands\.1: must be/],
    [{ commands: ['a\0'] }, /^commands\.0\.0: must not contain NUL/],
    [{ commands: ['a'], command_timeout: 0 }, /^command_timeout: must be at least 1/],
    [{ commands: ['a'], total_timeout: 3_601 }, /^total_timeout: must be at most 3600/],
    [{ commands: ['a'], shell: true }, /^shell: unknown field/],
  ] as const) {
    const answer = await exec('alice', body);
    expect([answer.status, answer.body.message]).toEqual([400, [expect.stringMatching(problem)]]);
  }
  await stand.create('alice', 'notrunning');
  const answer = await exec('alice', { commands: ['true'] }, 'notrunning');
  expect([answer.status, answer.body.message]).toEqual([409, 'The pod is not running.']);
});

test('limits the concurrent commands of a user, and ends a command when its caller leaves', async () => {
  const leaving = new AbortController();
  const token = await stand.token('alice');
  const calls = Array.from({ length: 4 }, async (_, index) =>
    fetch(`${stand.url}/v3/pods/mypod/exec`, {
      method: 'POST',
      headers: { 'X-Tapis-Token': token, 'Content-Type': 'application/json' },
      body: JSON.stringify({ commands: ['sleep', `60${index}`] }),
      signal: leaving.signal,
    }).catch(() => null),
  );
  await until('further ones are refused', async () => (await exec('alice', { commands: ['true'] })).status === 429);
  expect((await exec('alice', { commands: ['true'] })).body.message).toMatch(/^You have 4 commands .* the maximum/);
  leaving.abort();
  await Promise.all(calls);
  await until('there is room again', async () => (await exec('alice', { commands: ['true'] })).status === 200);
});

test('through the gateway, commands may take longer than the gateway waits for a silent API', async () => {
  const gateway = await HttpGateway.start({ apiAnswerMs: API_ANSWER_MS });
  const server = createServer(stand.api.serverOptions, stand.api.listenerFor('gateway'));
  try {
    await new Promise<void>((resolve) => server.listen(gateway.apiSocketPath, resolve));
    const headers = {
      host: 'localhost',
      'x-tapis-token': await stand.token('alice'),
      'content-type': 'application/json',
    };
    const call = (body: object) =>
      gateway.request({
        ...{ serverName: 'localhost', method: 'POST', path: '/v3/pods/mypod/exec', headers },
        body: JSON.stringify(body),
      });
    const slow = ['sh', '-c', `sleep ${(2 * API_ANSWER_MS) / 1_000}; echo done`];
    const done = await call({ commands: slow });
    expect(done.status).toBe(200);
    expect(done.body).toMatch(/^ +\{"message":"All commands completed\."/);
    expect(JSON.parse(done.body)).toMatchObject({
      status: 'success',
      result: { execution_results: [{ stdout: 'done\n' }] },
    });
    // What goes wrong after the beginning of the response is said in its envelope.
    const lost = await call({ commands: [...slow, BREAKS] });
    expect([lost.status, JSON.parse(lost.body)]).toMatchObject([200, { status: 'error', result: null }]);
    expect(stand.logLines.join('\n')).toContain('orchestrator.unavailable');
    // What is refused at once has its own status.
    expect((await call({ commands: [] })).status).toBe(400);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await gateway.close();
  }
});
