import type { Config } from '../../config/config.ts';
import { fail, type Finding, ok, warn } from '../../core/finding.ts';
import { wallsOfPods } from '../../main/own-user-namespace.ts';
import { openCgroups } from '../../spawner/orchestrator/process/cgroups.ts';
import { type Protection, protectionOf, unlimitedText } from '../../spawner/orchestrator/process/separation.ts';

const AS_ROOT =
  'Run Podgate as root on Linux with util-linux and iproute2 (in a container, with CAP_SYS_ADMIN), or without root on a kernel that allows user namespaces.';

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
    yield ok('pods', 'Each pod has its own network and can reach the gateway, but nothing else on this machine.');
  } else {
    const message =
      'Pods share the network of this machine; the owner of a port is checked on each dial (owner-checked).';
    const remedy =
      privilegedPort === null
        ? AS_ROOT
        : `Run Podgate as root, or allow every user to bind port ${privilegedPort}: sysctl net.ipv4.ip_unprivileged_port_start=${privilegedPort}.`;
    yield warn('pods', `${message} They can reach each other's ports and the control port.`, remedy);
  }
  if (files === 'user') yield ok('files', 'Each pod runs as its own user.');
  else if (files === 'mount-namespace') {
    yield ok('files', 'A user namespace hides the files of Podgate and of other pods from each pod (user-namespace).');
  } else {
    yield fail('files', 'Pods are not isolated on this machine: each can read the keys of Podgate.', AS_ROOT);
  }
  const unlimited = unlimitedText(protection);
  if (unlimited === '') yield ok('limits', 'Memory, CPU and processes of pods are limited by cgroups.');
  else yield warn('limits', unlimited, 'Limits require root and writable cgroups.');
}
