import { readFileSync, writeFileSync } from 'node:fs';
import type { CertificateReport, CertificateStatus } from '../../core/certificate-admin.ts';
import { errorText } from '../../core/errors.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { callOperator } from './call-operator.ts';

export const CERTS_HELP = `npx podgate certs [list]                show names, source, issuer, expiry, next renewal, last error and budget
npx podgate certs renew NAME            renew now, unless the ACME account is paused
npx podgate certs import CERT KEY       import PEM files: every replica serves them, none renews them
npx podgate certs export NAME CERT KEY  write the chain and the private key to two new files
npx podgate certs roll-over             replace the key of the ACME account

NAME is the first name of a certificate, as shown by list.
`;
const USE = 'usage: npx podgate certs list|renew|import|export|roll-over; see npx podgate certs --help';

/** Answers what to print. */
export async function certsCommand(args: readonly string[]): Promise<string> {
  const [action = 'list', ...rest] = args;
  const [first = '', second = '', third = ''] = rest;
  const isUsed = (count: number): boolean => rest.length === count && rest.every((one) => one !== '');
  if (action === '--help' || action === '-h') return CERTS_HELP;
  if (action === 'list' && isUsed(0)) return formatCertificates(await callOperator('certificates', {}));
  if (action === 'renew' && isUsed(1)) return await renew(first);
  if (action === 'import' && isUsed(2)) return await importFiles(first, second);
  if (action === 'export' && isUsed(3)) return await exportFiles(first, second, third);
  if (action === 'roll-over' && isUsed(0)) return await rollOver();
  throw new CliError(EXIT_USAGE, USE);
}

async function renew(key: string): Promise<string> {
  switch ((await callOperator('renewCertificate', { key })).answer) {
    case 'asked':
      return `${key}: will be renewed now; see npx podgate certs list\n`;
    case 'unknown':
      throw new CliError(EXIT_FAILED, `there is no certificate ${key}; see: npx podgate certs list`);
    case 'not-renewable':
      throw new CliError(EXIT_FAILED, `${key} is not renewed by Podgate: import a new one`);
  }
}

async function importFiles(certificateFile: string, keyFile: string): Promise<string> {
  const answer = await callOperator('importCertificate', {
    certificatePem: readText(certificateFile),
    privateKeyPem: readText(keyFile),
  });
  if (answer.kind === 'refused') throw new CliError(EXIT_FAILED, `${certificateFile}: ${answer.reason}`);
  return `${answer.key}: imported\n`;
}

async function exportFiles(key: string, certificateFile: string, keyFile: string): Promise<string> {
  const { pems } = await callOperator('exportCertificate', { key });
  if (pems === null) throw new CliError(EXIT_FAILED, `there is no certificate ${key}; see: npx podgate certs list`);
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
  if (answer === 'no-account') throw new CliError(EXIT_FAILED, 'there is no account at an ACME server yet');
  return 'the account will have a new key in a moment\n';
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
      : `account at ${directoryUrl}: ${oneLine(lastError.message)}${pausedUntilMs === null ? '' : `; again at ${timeOf(pausedUntilMs)}`}\n`,
  );
  return [...certificates.map(formatOne), ...budget, ...paused].join('');
}

function formatOne(one: CertificateStatus): string {
  const { names, source, held, lapse, nextRenewalMs, notBeforeMs, lastError } = one;
  const state =
    held === null
      ? one.isOrdering
        ? 'is being ordered'
        : 'there is none yet'
      : `${lapseOf(lapse)}, ends ${timeOf(held.notAfterMs)}`;
  return [
    `${names.join(', ')}  ${source}  ${state}\n`,
    held === null ? '' : `    issuer ${held.issuer}, serial ${held.serial}\n`,
    nextRenewalMs === null ? '' : `    next renewal ${timeOf(nextRenewalMs)}\n`,
    lastError === null ? '' : `    ${timeOf(lastError.atMs)}: ${oneLine(lastError.message)}\n`,
    notBeforeMs === null ? '' : `    not tried before ${timeOf(notBeforeMs)}\n`,
    one.isKeyOpen ? '' : '    its private key cannot be opened with the keyring\n',
  ].join('');
}

function lapseOf(lapse: CertificateStatus['lapse']): string {
  switch (lapse) {
    case 'no':
      return 'good';
    case 'soon':
      return 'ENDS SOON';
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
