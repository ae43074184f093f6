import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { shellWord } from '../../core/shell-word.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, createSubcommand, type OutputOptions, withJson } from '../command.ts';
import { printResult } from '../output/print.ts';
import { findInstallation } from '../target/installation.ts';

/** It only shows what to type: which authorities a machine trusts is up to its owner. */
export function caCommand(): Command {
  const trust = withJson(
    createSubcommand('trust', {
      description: 'Shows what to type, with the path of this installation.',
      examples: [['ca trust', '']],
    }),
  )
    .addHelpText('before', trustText('.podgate/ca.pem'))
    .action((options: OutputOptions) => {
      const { caPath } = findInstallation();
      if (!existsSync(caPath)) throw new CliError(EXIT_FAILED, `${caPath} does not exist: has Podgate been started?`);
      printResult(options, { ca_path: caPath }, trustText(caPath));
    });
  return createCommand('ca', {
    description: 'Shows how programs, or this machine, can trust the development CA.',
    examples: [['ca trust', '']],
  }).addCommand(trust);
}

export function trustText(caPath: string): string {
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

To make all programs on this machine trust it (podgate only shows how; it changes nothing):

  Debian, Ubuntu    sudo cp ${ca} /usr/local/share/ca-certificates/podgate.crt && sudo update-ca-certificates
  Fedora, RHEL      sudo cp ${ca} /etc/pki/ca-trust/source/anchors/podgate.pem && sudo update-ca-trust
  macOS             sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ${ca}
  Windows           certutil -addstore -f Root ca.pem          (in a console as administrator)
  Chrome on Linux   certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n podgate -i ${ca}     (package libnss3-tools)
  Firefox           Settings, Privacy and Security, View Certificates, Authorities, Import

To take it back, delete that file or entry and run the same command again (update-ca-certificates --fresh on Debian).
`;
}
