// The stand-in as a program of its own:
//   node test/support/kubernetes/kubelet/main.ts --folder DIR [--test-pods processes] [--timings JSON] [--verbose]
// DIR is the folder of a control plane (ca.crt, kubelet.crt, kubelet.key, admin.kubeconfig). It takes commands as lines of
// JSON (commands.ts), answers them on stdout, and ends its pods and itself when stdin ends or at SIGTERM.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { type Answer, obey, type Question } from './commands.ts';
import type { Timings } from './container-runner.ts';
import { startKubelet } from './kubelet.ts';

const { values } = parseArgs({
  options: {
    folder: { type: 'string' },
    'test-pods': { type: 'string', default: 'inside' },
    timings: { type: 'string', default: '{}' },
    verbose: { type: 'boolean', default: false },
  },
});
const { folder } = values;
if (folder === undefined) throw new Error('--folder DIR is missing: the folder of a control plane');
const file = (name: string): string => readFileSync(join(folder, name), 'utf8');
const say = (answer: Answer): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);

const kubelet = await startKubelet({
  kubeconfig: file('admin.kubeconfig'),
  ca: file('ca.crt'),
  tls: { key: file('kubelet.key'), certificate: file('kubelet.crt') },
  testPods: values['test-pods'] === 'processes' ? 'processes' : 'inside',
  timings: JSON.parse(values.timings) as Partial<Timings>,
  ...(values.verbose ? { failed: (error: unknown) => console.error(error) } : {}),
});
say({ id: 0, network: kubelet.network, nodeName: kubelet.nodeName });

let stopping: Promise<void> | null = null;
const stop = (): void => {
  stopping ??= kubelet.stop().then(() => process.exit(0));
};
process.once('SIGTERM', stop).once('SIGINT', stop);
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { id, command } = JSON.parse(line) as Question;
    obey(kubelet, command).then(
      (result) => say({ id, result }),
      (error: unknown) => say({ id, error: String(error) }),
    );
  })
  .on('close', stop);
