import { Socket } from 'node:net';
import type { Config } from '../../config/config.ts';
import { fail, type Finding, ok, warn } from '../../core/finding.ts';
import { wallsOfPods } from '../../main/own-user-namespace.ts';
import { EgressPolicy } from '../../proxy/policy/egress-policy.ts';
import { parseConnectTarget } from '../../proxy/protocols/egress/connect-target.ts';
import { dialTarget } from '../../proxy/protocols/egress/dial-target.ts';
import { ownAddresses } from '../../proxy/socket/own-addresses.ts';
import { AddressLookup } from '../../proxy/protocols/egress/target-addresses.ts';

/** Whether pods get out as `process.egress` says. `target`: host:port to connect to as a pod would; null = none. */
export async function* examineEgress(config: Config, target: string | null): AsyncGenerator<Finding> {
  const { egress } = config.process;
  if (egress === null) {
    if (target !== null) {
      yield warn('egress', 'Pods have no way out of their network (process.egress is not set).', 'Omit --egress.');
    }
    return;
  }
  if (!wallsOfPods(config).walls.hasNamespaces) {
    yield warn(
      'egress',
      'process.egress has no effect: pods share the network of this machine and reach whatever it reaches.',
      'See the finding about pods above.',
    );
    return;
  }
  yield ok(
    'egress',
    `Pods reach ${egress.allow.length === 0 ? 'public addresses' : egress.allow.join(', ')} on the ports ${egress.ports.join(', ')} through a proxy.${target === null ? ' Test a target with --egress HOST:PORT.' : ''}`,
  );
  if (target !== null) yield* dialAsPod(target, egress);
}

async function* dialAsPod(text: string, egress: NonNullable<Config['process']['egress']>): AsyncGenerator<Finding> {
  const target = parseConnectTarget(text);
  if (target === null) {
    yield fail('egress', `${text} is not a host name or an address with a port.`, 'For example example.org:443.');
    return;
  }
  const policy = new EgressPolicy(egress, ownAddresses);
  const found = await new AddressLookup(egress.nameServers).find(target, 'doctor');
  if (found.kind !== 'addresses') {
    yield fail('egress', `The name of ${text} cannot be resolved.`, 'Check the name, and process.egress.nameServers.');
    return;
  }
  const allowed = found.addresses.filter((address) => policy.isAddressAllowed(address));
  if (!policy.isPortAllowed(target.port) || allowed.length === 0) {
    const what = allowed.length === 0 ? found.addresses.join(', ') : `port ${target.port}`;
    yield fail('egress', `Pods must not connect to ${text}: ${what} is not allowed.`, 'See process.egress.');
    return;
  }
  const dialed = await dialTarget(allowed, target.port, new Socket());
  if (dialed.kind === 'connected') {
    dialed.socket.destroy();
    yield ok('egress', `Pods reach ${text} (${dialed.address}).`);
  } else {
    yield fail(
      'egress',
      `${text} does not accept connections at ${allowed.join(', ')}.`,
      'Check the network and the target.',
    );
  }
}
