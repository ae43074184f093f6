import type { Config } from '../../config/config.ts';
import { fail, type Finding, ok, warn } from '../../core/finding.ts';
import { wallsOfPods } from '../../main/own-user-namespace.ts';
import { openCgroups } from '../../spawner/orchestrator/process/cgroups.ts';
import { type Protection, protectionOf, unlimitedText } from '../../spawner/orchestrator/process/separation.ts';

const AS_ROOT =
  'Start Podgate as root on Linux with util-linux and iproute2, in a container with CAP_SYS_ADMIN; or without root where the kernel allows user namespaces.';

/** What keeps process pods apart on this machine, as found by trying it. */
export function* examineProcessPods(config: Config): Generator<Finding> {
  const asRoot = process.getuid?.() === 0;
  const cgroups = openCgroups('doctor', asRoot);
  cgroups.close();
  const { walls, privilegedPort } = wallsOfPods(config);
  yield* judgeProtection(protectionOf(walls, asRoot, cgroups.limits), privilegedPort);
}

/** `privilegedPort`: one that keeps Podgate out of a user namespace. */
export function* judgeProtection(protection: Protection, privilegedPort: number | null = null): Generator<Finding> {
  const { network, files } = protection;
  if (network === 'network-namespace') {
    yield ok('pods', 'Each pod has a network of its own; it reaches the gateway and nothing else of this machine.');
  } else {
    const message = 'Pods share the network of this machine: who owns a port is checked at each dial (owner-checked).';
    const remedy =
      privilegedPort === null
        ? AS_ROOT
        : `Start Podgate as root, or let every user bind port ${privilegedPort}: sysctl net.ipv4.ip_unprivileged_port_start=${privilegedPort}.`;
    yield warn('pods', `${message} They reach each other's ports and the control port.`, remedy);
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
