import { isBuiltin } from 'node:module';
import { fail, type Finding, ok, warn } from '../../core/finding.ts';
import { openCgroups } from '../../spawner/orchestrator/process/cgroups.ts';
import { type Protection, protectionOf, unlimitedText } from '../../spawner/orchestrator/process/separation.ts';
import { tryWalls } from '../../spawner/orchestrator/process/walls.ts';

const AS_ROOT = 'Start Podgate as root on Linux with util-linux and iproute2, in a container with CAP_SYS_ADMIN.';

/** What keeps process pods apart on this machine, as found by trying it. */
export function* examineProcessPods(): Generator<Finding> {
  const asRoot = process.getuid?.() === 0;
  const cgroups = openCgroups('doctor', asRoot);
  cgroups.close();
  yield* judgeProtection(protectionOf(tryWalls({ asRoot, canEnter: isBuiltin('node:ffi') }), asRoot, cgroups.limits));
}

export function* judgeProtection(protection: Protection): Generator<Finding> {
  const { network, files } = protection;
  if (network === 'network-namespace') {
    yield ok('pods', 'Each pod has a network of its own; it reaches the gateway and nothing else of this machine.');
  } else {
    const message = 'Pods share the network of this machine: who owns a port is checked at each dial (owner-checked).';
    yield warn('pods', `${message} They reach each other's ports and the control port.`, AS_ROOT);
  }
  if (files === 'user') yield ok('files', 'Each pod runs under a user of its own.');
  else if (files === 'mount-namespace') {
    yield ok('files', 'A user namespace hides the files of Podgate and of other pods from each pod (user-namespace).');
  } else {
    yield fail('files', 'Nothing separates pods here: each can read the keys of Podgate.', AS_ROOT);
  }
  const unlimited = unlimitedText(protection);
  if (unlimited === '') yield ok('limits', 'Memory, CPU and processes of pods are limited by control groups.');
  else yield warn('limits', unlimited, 'They need root and control groups that can be written to.');
}
