import { lookup } from 'node:dns/promises';
import { connect } from 'node:net';
import type { Config } from '../../config/config.ts';
import { errorText } from '../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../core/finding.ts';

const DEADLINE_MS = 5_000;

/** Do the names that clients use lead to this gateway's port? As seen from here. Nothing throws. */
export async function* examineNames(config: Config, publicHttpsPort: number): AsyncGenerator<Finding> {
  for (const { baseHost } of config.tenants) {
    const isLocal = baseHost === 'localhost' || baseHost.endsWith('.localhost');
    const remedy = isLocal
      ? 'curl and browsers resolve it themselves; for other programs: apt-get install libnss-myhostname.'
      : `Create DNS records for ${baseHost} and *.pods.${baseHost} that point to the load balancer.`;
    for (const host of [baseHost, `podgate-doctor.pods.${baseHost}`]) {
      const address = await addressOf(host);
      if (address === null) {
        const message = `${host} does not resolve on this machine.`;
        yield isLocal ? warn('names', message, remedy) : fail('names', message, remedy);
        continue;
      }
      const problem = await connectProblem(address, publicHttpsPort);
      yield problem === null
        ? ok('names', `${host} resolves to ${address}, and port ${publicHttpsPort} is open there.`)
        : warn(
            'names',
            `${host} resolves to ${address}, where port ${publicHttpsPort} does not respond: ${problem}.`,
            'Check the load balancer and firewalls. Some load balancers cannot be reached from inside the cluster: try from outside.',
          );
    }
  }
}

async function addressOf(host: string): Promise<string | null> {
  const late = new Promise<null>((resolve) => setTimeout(resolve, DEADLINE_MS, null).unref());
  const found = lookup(host).then(
    ({ address }) => address,
    () => null,
  );
  return Promise.race([found, late]);
}

function connectProblem(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: DEADLINE_MS });
    const end = (problem: string | null): void => {
      socket.destroy();
      resolve(problem);
    };
    socket.once('connect', () => end(null));
    socket.once('timeout', () => end(`no response within ${DEADLINE_MS} ms`));
    socket.once('error', (error) => end(errorText(error)));
  });
}
