import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Certificate } from '../../../../core/certificates.ts';

/** A self-signed certificate: it is its own root. */
export function makeCertificate(
  names: readonly string[],
  { days = 2, extensions = [] }: { readonly days?: number; readonly extensions?: readonly string[] } = {},
): Certificate {
  const dir = mkdtempSync(join(tmpdir(), 'podgate-cert-'));
  try {
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    const subjectAltName = `subjectAltName=${names.map((name) => `DNS:${name}`).join()}`;
    execFileSync(
      'openssl',
      [
        ...[
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-days',
          String(days),
        ],
        ...['-subj', '/CN=test', ...[subjectAltName, ...extensions].flatMap((one) => ['-addext', one])],
        ...['-keyout', key, '-out', cert],
      ],
      { stdio: 'pipe' },
    );
    return { names, certificatePem: readFileSync(cert, 'utf8'), privateKeyPem: readFileSync(key, 'utf8') };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
