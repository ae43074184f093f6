import { existsSync } from 'node:fs';
import { shellWord } from '../core/shell-word.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from './cli-error.ts';
import { findInstallation } from './installation.ts';

const USE = 'usage: npx podgate ca trust';

/**
 * Says what to type so that programs trust the development CA. It types nothing itself: whom a machine trusts is its
 * owner's affair.
 */
export function caCommand(args: readonly string[]): string {
  const [action, option, ...others] = args;
  if (action === '--help' || action === '-h') return trustText('.podgate/ca.pem');
  if (action !== 'trust' || others.length > 0) throw new CliError(EXIT_USAGE, USE);
  if (option === '--help' || option === '-h') return trustText('.podgate/ca.pem');
  if (option !== undefined) throw new CliError(EXIT_USAGE, USE);
  const { caPath } = findInstallation();
  if (!existsSync(caPath)) throw new CliError(EXIT_FAILED, `there is no ${caPath}: is Podgate started?`);
  return trustText(caPath);
}

function trustText(caPath: string): string {
  const ca = shellWord(caPath);
  return `The certificates of *.pods.<base host> are signed by this installation's CA, in ${caPath}. Its name constraints
limit it to the base host. To make a single program trust it, without changing the machine:

  curl      curl --cacert ${ca} https://...
  psql      psql "sslmode=verify-full sslrootcert=${caPath} ..."
  Node      NODE_EXTRA_CA_CERTS=${ca} node ...
  Python    SSL_CERT_FILE=${ca} python3 ...          requests: REQUESTS_CA_BUNDLE=${ca}
  Java      keytool -importcert -noprompt -alias podgate -file ${ca} -keystore podgate.p12 -storepass changeit
            java -Djavax.net.ssl.trustStore=podgate.p12 -Djavax.net.ssl.trustStorePassword=changeit ...
  Go        SSL_CERT_FILE=${ca} ./program

To make all programs on this machine trust it (npx podgate only shows how; it changes nothing):

  Debian, Ubuntu    sudo cp ${ca} /usr/local/share/ca-certificates/podgate.crt && sudo update-ca-certificates
  Fedora, RHEL      sudo cp ${ca} /etc/pki/ca-trust/source/anchors/podgate.pem && sudo update-ca-trust
  macOS             sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ${ca}
  Windows           certutil -addstore -f Root ca.pem          (in a console as administrator)
  Chrome on Linux   certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n podgate -i ${ca}     (package libnss3-tools)
  Firefox           Settings, Privacy and Security, View Certificates, Authorities, Import

To take it back, delete that file or entry and run the same command again (update-ca-certificates --fresh on Debian).
`;
}
