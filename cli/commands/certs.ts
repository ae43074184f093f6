import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { CertificateReport, CertificateStatus } from '../../core/certificate-admin.ts';
import { errorText } from '../../core/errors.ts';
import { PODGATE } from '../called-as.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { type CommandHelp, createCommand, createSubcommand, type OutputOptions, withJson } from '../command.ts';
import { printResult } from '../output/print.ts';
import { callOperator } from '../target/call-operator.ts';

const NAME = 'first name of a certificate, as shown by list';

export function certsCommand(): Command {
  const examples: CommandHelp['examples'] = [
    ['certs', 'show names, source, issuer, expiry, next renewal, last error and budget'],
    ['certs renew NAME', 'renew now, unless the ACME account is paused'],
    ['certs import CERT KEY', 'import PEM files: every replica serves them, none renews them'],
    ['certs export NAME CERT KEY', 'write the chain and the private key to two new files'],
    ['certs roll-over', 'replace the key of the ACME account'],
  ];
  const action = (name: string, description: string): Command =>
    withJson(createSubcommand(name, { description, examples: [] }));
  return createCommand('certs', { description: 'Lists and manages certificates.', examples })
    .addCommand(
      action('list', 'Shows names, source, issuer, expiry, next renewal, last error and budget.').action(
        async (options: OutputOptions) => {
          const report = await callOperator('certificates', {});
          printResult(options, report, formatCertificates(report));
        },
      ),
      { isDefault: true },
    )
    .addCommand(
      action('renew', 'Renews a certificate now, unless the ACME account is paused.')
        .argument('<name>', NAME)
        .action(async (name: string, options: OutputOptions) => {
          printResult(options, { name }, await renew(name));
        }),
    )
    .addCommand(
      action('import', 'Imports PEM files: every replica serves them, none renews them.')
        .argument('<cert>', 'the certificate with its chain')
        .argument('<key>', 'its private key')
        .action(async (cert: string, key: string, options: OutputOptions) => {
          const name = await importFiles(cert, key);
          printResult(options, { name }, `${name}: imported\n`);
        }),
    )
    .addCommand(
      action('export', 'Writes the chain and the private key to two new files.')
        .argument('<name>', NAME)
        .argument('<cert>', 'new file for the chain')
        .argument('<key>', 'new file for the private key')
        .action(async (name: string, cert: string, key: string, options: OutputOptions) => {
          printResult(options, { name, cert, key }, await exportFiles(name, cert, key));
        }),
    )
    .addCommand(
      action('roll-over', 'Replaces the key of the ACME account.').action(async (options: OutputOptions) => {
        printResult(options, { asked: true }, await rollOver());
      }),
    );
}

async function renew(key: string): Promise<string> {
  switch ((await callOperator('renewCertificate', { key })).answer) {
    case 'asked':
      return `${key}: will be renewed now; see: ${PODGATE} certs list\n`;
    case 'unknown':
      throw new CliError(EXIT_FAILED, `there is no certificate ${key}; see: podgate certs list`);
    case 'not-renewable':
      throw new CliError(EXIT_FAILED, `${key} is not renewed by Podgate; import a new one`);
  }
}

/** Returns the key of the certificate. */
async function importFiles(certificateFile: string, keyFile: string): Promise<string> {
  const answer = await callOperator('importCertificate', {
    certificatePem: readText(certificateFile),
    privateKeyPem: readText(keyFile),
  });
  if (answer.kind === 'refused') throw new CliError(EXIT_FAILED, `${certificateFile}: ${answer.reason}`);
  return answer.key;
}

async function exportFiles(key: string, certificateFile: string, keyFile: string): Promise<string> {
  const { pems } = await callOperator('exportCertificate', { key });
  if (pems === null) throw new CliError(EXIT_FAILED, `there is no certificate ${key}; see: podgate certs list`);
  try {
    // New ones: nothing is overwritten, and the mode is ours.
    writeFileSync(keyFile, pems.privateKeyPem, { flag: 'wx', mode: 0o600 });
    writeFileSync(certificateFile, pems.certificatePem, { flag: 'wx' });
  } catch (error) {
    throw new CliError(EXIT_FAILED, errorText(error));
  }
  return `${certificateFile}, ${keyFile}: written\n`;
}

async function rollOver(): Promise<string> {
  const { answer } = await callOperator('rollOverAccountKey', {});
  if (answer === 'no-account') throw new CliError(EXIT_FAILED, 'there is no ACME account yet');
  return 'The key of the ACME account is being replaced.\n';
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(EXIT_FAILED, errorText(error));
  }
}

export function formatCertificates({ certificates, budgets, accounts }: CertificateReport): string {
  const budget = budgets.map(({ domain, left, limit }) => `budget of ${domain}: ${left} of ${limit} left this week\n`);
  const paused = accounts.map(({ directoryUrl, lastError, pausedUntilMs }) =>
    lastError === null
      ? `account at ${directoryUrl}\n`
      : `account at ${directoryUrl}: ${oneLine(lastError.message)}${pausedUntilMs === null ? '' : `; paused until ${timeOf(pausedUntilMs)}`}\n`,
  );
  return [...certificates.map(formatOne), ...budget, ...paused].join('');
}

function formatOne(one: CertificateStatus): string {
  const { names, source, held, lapse, nextRenewalMs, notBeforeMs, lastError } = one;
  const state =
    held === null
      ? one.isOrdering
        ? 'is being ordered'
        : 'not yet issued'
      : `${lapseOf(lapse)}, ends ${timeOf(held.notAfterMs)}`;
  return [
    `${names.join(', ')}  ${source}  ${state}\n`,
    held === null ? '' : `    issuer ${held.issuer}, serial ${held.serial}\n`,
    nextRenewalMs === null ? '' : `    next renewal ${timeOf(nextRenewalMs)}\n`,
    lastError === null ? '' : `    ${timeOf(lastError.atMs)}: ${oneLine(lastError.message)}\n`,
    notBeforeMs === null ? '' : `    next attempt ${timeOf(notBeforeMs)}\n`,
    one.isKeyOpen ? '' : '    its private key cannot be decrypted with the keyring\n',
  ].join('');
}

function lapseOf(lapse: CertificateStatus['lapse']): string {
  switch (lapse) {
    case 'no':
      return 'good';
    case 'soon':
      return 'EXPIRES SOON';
    case 'expired':
      return 'EXPIRED';
  }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).concat('Z');
}

function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ');
}
