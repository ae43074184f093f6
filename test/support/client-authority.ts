import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate with its key, PEM. */
export interface ClientKeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface ClientAuthority {
  readonly ca: string;
  /** Of `subject`, such as `/O=Lab/CN=alice`; `days` below 0 = it has expired. */
  issue(subject: string, options?: { readonly days?: number; readonly usage?: string }): ClientKeyPair;
  remove(): void;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** An authority that issues certificates of clients, made by the openssl program. */
export function createClientAuthority(name: string): ClientAuthority {
  const dir = mkdtempSync(join(tmpdir(), 'podgate-clients-'));
  const file = (of: string): string => join(dir, of);
  const openssl = (...args: readonly string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });
  openssl(
    ...['req', '-x509', ...NEW_KEY, '-subj', `/CN=${name}`, '-days', '2'],
    ...['-keyout', file('ca.key'), '-out', file('ca.pem')],
  );
  return {
    ca: readFileSync(file('ca.pem'), 'utf8'),
    issue(subject, { days = 1, usage = 'clientAuth' } = {}) {
      openssl(...['req', '-new', ...NEW_KEY, '-utf8', '-subj', subject, '-keyout', file('key'), '-out', file('csr')]);
      writeFileSync(file('ext'), `extendedKeyUsage=${usage}\n`);
      const signer = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-extfile', file('ext')];
      if (days > 0) openssl('x509', '-req', '-in', file('csr'), ...signer, '-days', String(days), '-out', file('cert'));
      else expired(openssl, file);
      return { cert: readFileSync(file('cert'), 'utf8'), key: readFileSync(file('key'), 'utf8') };
    },
    remove: () => rmSync(dir, { recursive: true }),
  };
}

/** `openssl x509` of version 3.0 knows no dates in the past; `openssl ca` does. */
function expired(openssl: (...args: readonly string[]) => void, file: (of: string) => string): void {
  writeFileSync(file('index'), '');
  writeFileSync(file('serial'), '77\n');
  writeFileSync(
    file('ca.conf'),
    [
      '[ca]',
      'default_ca = it',
      '[it]',
      `database = ${file('index')}`,
      `serial = ${file('serial')}`,
      `new_certs_dir = ${file('')}`,
      'default_md = sha256',
      'policy = any',
      '[any]',
      'commonName = supplied',
      'organizationName = optional',
    ].join('\n'),
  );
  openssl(
    ...['ca', '-batch', '-config', file('ca.conf'), '-cert', file('ca.pem'), '-keyfile', file('ca.key')],
    ...['-startdate', '20200101000000Z', '-enddate', '20200102000000Z', '-extfile', file('ext')],
    ...['-in', file('csr'), '-out', file('cert'), '-notext'],
  );
}
