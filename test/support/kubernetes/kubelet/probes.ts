import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunningContainer } from './image.ts';
import type { Container, Probe } from './objects.ts';
import { execProbe } from './process-container.ts';

export interface ProbeTarget {
  readonly container: Container;
  readonly address: string;
  readonly running: RunningContainer;
}

/**
 * Probes truly, in the rhythm of the specification's defaults, and tells each change of the verdict, until the signal
 * aborts. The first verdict is a failure (readiness, startup) or a success (liveness), untold. `periodMs` replaces what
 * the probe says, which is a second at the least.
 */
export async function runProbe(
  probe: Probe,
  target: ProbeTarget,
  { periodMs, first, told }: { periodMs: number | null; first: boolean; told: (verdict: boolean) => void },
  signal: AbortSignal,
): Promise<void> {
  const { successThreshold = 1, failureThreshold = 3, initialDelaySeconds = 0, periodSeconds = 10 } = probe;
  let verdict = first;
  let inRow = { succeeded: false, count: 0 };
  await pause(initialDelaySeconds * 1_000, signal);
  const isOver = (): boolean => signal.aborted;
  while (!isOver()) {
    const succeeded = await probeOnce(probe, target, signal);
    if (isOver()) return;
    inRow = { succeeded, count: inRow.succeeded === succeeded ? inRow.count + 1 : 1 };
    const threshold = succeeded ? successThreshold : failureThreshold;
    if (succeeded !== verdict && inRow.count >= threshold) {
      verdict = succeeded;
      told(verdict);
    }
    await pause(periodMs ?? periodSeconds * 1_000, signal);
  }
}

export async function probeOnce(probe: Probe, target: ProbeTarget, signal: AbortSignal): Promise<boolean> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1_000;
  const { exec, httpGet, tcpSocket } = probe;
  if (exec !== undefined) return (await execProbe(target.running, exec.command ?? [], timeoutMs)) === 0;
  if (tcpSocket !== undefined) {
    const port = portOf(tcpSocket.port, target.container);
    return port !== null && (await connects(tcpSocket.host ?? target.address, port, timeoutMs));
  }
  if (httpGet !== undefined) {
    const port = portOf(httpGet.port, target.container);
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    return port !== null && (await answers(httpGet, httpGet.host ?? target.address, port, deadline));
  }
  return false;
}

/** A named port is one of the container's. */
export function portOf(port: number | string, container: Container): number | null {
  if (typeof port === 'number') return port;
  return container.ports?.find(({ name }) => name === port)?.containerPort ?? null;
}

function connects(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    const end = (verdict: boolean) => () => {
      socket.destroy();
      resolve(verdict);
    };
    socket.once('connect', end(true)).once('error', end(false)).once('timeout', end(false));
  });
}

function answers(
  get: NonNullable<Probe['httpGet']>,
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = Object.fromEntries((get.httpHeaders ?? []).map(({ name, value }) => [name, value]));
    const options = { host, port, path: get.path ?? '/', headers, signal, agent: false };
    // The kubelet does not verify certificates of probes; a test that wants that has to make one.
    const outgoing = get.scheme === 'HTTPS' ? httpsRequest(options) : httpRequest(options);
    outgoing.on('response', (answer) => {
      answer.resume();
      const status = answer.statusCode ?? 0;
      resolve(status >= 200 && status < 400);
    });
    outgoing.on('error', () => resolve(false));
    outgoing.end();
  });
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal }).catch(() => undefined);
}
