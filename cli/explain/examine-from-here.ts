import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Lookup, lookUp } from '../../control/resources/pods/explain/look-up.ts';
import { errorText } from '../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../core/finding.ts';
import { addressOf, type Target } from '../target/target.ts';

const CONNECT_MS = 5_000;

/** What the gateway serves, as the API has said. */
export interface Place {
  readonly host: string;
  /** The port that clients dial. */
  readonly port: number;
}

/** The same way as a client of this machine goes: name, port, certificate. Nothing is said to the pod. Never throws. */
export async function examineFromHere(target: Target, { host, port }: Place): Promise<readonly Finding[]> {
  const resolved = await lookUp(host);
  const findings = [judgeName(host, resolved)];
  const address = 'addresses' in resolved ? resolved.addresses[0] : (addressOf(target, host) ?? undefined);
  if (address === undefined) return findings;
  const dialedPort = target.gateway?.port ?? port;
  return [...findings, await examinePort(target, { host, address, port: dialedPort })];
}

function judgeName(host: string, resolved: Lookup): Finding {
  if ('addresses' in resolved)
    return ok('name here', `${host} resolves to ${resolved.addresses.join(', ')} on this machine.`);
  const message = `${host} does not resolve on this machine: ${resolved.problem}.`;
  return host.endsWith('.localhost')
    ? warn(
        'name here',
        message,
        'Browsers, curl and the commands of Podgate reach it all the same. For other programs: apt-get install libnss-myhostname, or dial 127.0.0.1.',
      )
    : fail('name here', message, `Check the spelling, and the DNS record *${host.slice(host.indexOf('.'))}.`);
}

/** The port and the certificate, as a client that trusts what this login, or this machine, trusts. */
function examinePort(
  { caPath, profile }: Target,
  { host, address, port }: { readonly host: string; readonly address: string; readonly port: number },
): Promise<Finding> {
  return new Promise((resolve) => {
    const where = `${address}, port ${port}`;
    let isConnected = false;
    const raw = connectTcp({ host: address, port, timeout: CONNECT_MS });
    const end = (finding: Finding): void => {
      secure.destroy();
      raw.destroy();
      resolve(finding);
    };
    const failed = (reason: string): void => {
      if (!isConnected) {
        end(
          fail(
            'port here',
            `No connection from this machine to ${where}: ${reason}.`,
            'A firewall between here and Podgate may block it, or the DNS record is out of date.',
          ),
        );
      } else {
        const remedy =
          profile === 'local'
            ? 'For other clients: podgate ca trust.'
            : 'Log in with --ca FILE if it is of a private CA.';
        end(fail('certificate here', `The TLS handshake from this machine failed: ${reason}.`, remedy));
      }
    };
    raw.once('connect', () => (isConnected = true));
    raw.once('timeout', () => failed(`nothing within ${CONNECT_MS / 1_000} s`));
    raw.once('error', (error) => failed(errorText(error)));
    const ca = caPath === null ? {} : { ca: readFileSync(caPath, 'utf8') };
    const secure = connectTls({ socket: raw, servername: host, ...ca });
    secure.once('error', (error) => failed(errorText(error)));
    secure.once('secureConnect', () => {
      const trusted = caPath === null ? 'this machine trusts' : 'the CA of this installation has issued';
      end(ok('certificate here', `${where} is reached from here, with a certificate that ${trusted}.`));
    });
  });
}
