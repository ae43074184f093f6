import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { isAborted } from '../../core/abort.ts';
import type { Container } from './kubernetes/kubelet/objects.ts';
import { probeOnce } from './kubernetes/kubelet/probes.ts';
import type { Program } from './program.ts';

const MANIFEST = join(import.meta.dirname, '../../deploy/base/gateway.yaml');
/** Periods of the manifest are divided by it: two minutes of patience are six seconds. */
const FASTER = 20;

interface Deployment {
  readonly kind: string;
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly [Container] } } };
}

/** Whether the kubelet would have killed this program by the probes of deploy/, watched from now on until `stop`. */
export function watchAsKubelet(program: Program): { readonly verdict: () => string | null; stop(): void } {
  const deployments = parseAllDocuments(readFileSync(MANIFEST, 'utf8')).map((one) => one.toJS() as Deployment);
  const given = deployments.find(({ kind }) => kind === 'Deployment')?.spec.template.spec.containers[0];
  if (given === undefined) throw new Error(`${MANIFEST} has no Deployment`);
  const ports = { https: program.httpsPort, http: program.httpPort, control: program.controlPort };
  const container: Container = {
    ...given,
    ports: Object.entries(ports).map(([name, containerPort]) => ({ name, containerPort })),
  };
  const running = { exec: () => Promise.reject(new Error('no probe of deploy/ runs a command')) };
  const target = { container, address: '127.0.0.1', running: running as never };
  const stopping = new AbortController();
  let verdict: string | null = null;

  /** Resolves at the first success of a startup probe; a liveness probe goes on. */
  async function probe(name: 'startupProbe' | 'livenessProbe'): Promise<void> {
    const asked = container[name];
    if (asked === undefined) return;
    const { failureThreshold = 3, periodSeconds = 10 } = asked;
    let failures = 0;
    while (!isAborted(stopping.signal)) {
      const succeeded = await probeOnce(asked, target, stopping.signal);
      if (isAborted(stopping.signal) || (succeeded && name === 'startupProbe')) return;
      failures = succeeded ? 0 : failures + 1;
      if (failures >= failureThreshold) verdict ??= `killed by its ${name}`;
      await new Promise((resolve) => setTimeout(resolve, (periodSeconds * 1_000) / FASTER));
    }
  }
  void probe('startupProbe').then(() => probe('livenessProbe'));
  return { verdict: () => verdict, stop: () => stopping.abort() };
}
