import { createPrivateKey, X509Certificate as NodeCertificate } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AsnConvert } from '@peculiar/asn1-schema';
import { GeneralName, GeneralSubtree, GeneralSubtrees, NameConstraints } from '@peculiar/asn1-x509';
import type { Clock } from '../core/clock.ts';
import { kindOfError } from '../core/error-code.ts';
import type { Logger } from '../core/logger.ts';
import { KEY_ALGORITHM, keyPem, validityAt } from './development-leaf.ts';
import { isRenewalDue } from './renewal.ts';
import * as x509 from './x509.ts';

const AUTHORITY_LIFETIME_MS = 10 * 365 * 24 * 60 * 60_000;
const NAME_CONSTRAINTS = '2.5.29.30';

/** A CA certificate and its key, ready to sign. */
export interface Authority {
  readonly certificatePath: string;
  readonly certificate: x509.X509Certificate;
  readonly privateKey: CryptoKey;
}

export interface AuthorityOptions {
  readonly dir: string;
  readonly baseHosts: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Reads the CA of that directory, or makes it: when there is none, when its end is near, or when it is not limited to
 * exactly these base hosts. Both files are 0600.
 */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  const { dir, baseHosts, clock, log } = options;
  const certificatePath = join(dir, 'ca.pem');
  const keyPath = join(dir, 'ca.key');
  const existing = await readAuthority(certificatePath, keyPath);
  if (existing !== null) {
    const reason = reasonToReplace(existing.certificate, baseHosts, clock.now());
    if (reason === null) return existing;
    log.warn({ reason, caPath: certificatePath }, 'a new development CA was created: clients must trust the new file');
  }
  const { certificate, keys } = await makeAuthority(baseHosts, clock.now());
  await mkdir(dir, { recursive: true, mode: 0o700 });
  // The key first: a crash in between leaves a pair that does not fit, which is made again.
  await writePrivately(keyPath, await keyPem(keys.privateKey));
  await writePrivately(certificatePath, `${certificate.toString('pem')}\n`);
  return { certificatePath, certificate, privateKey: keys.privateKey };
}

async function readAuthority(certificatePath: string, keyPath: string): Promise<Authority | null> {
  const [certificatePem, pem] = await Promise.all([readIfAny(certificatePath), readIfAny(keyPath)]);
  if (certificatePem === null || pem === null) return null;
  try {
    const key = createPrivateKey(pem);
    if (!new NodeCertificate(certificatePem).checkPrivateKey(key)) return null;
    const der = key.export({ type: 'pkcs8', format: 'der' });
    const privateKey = await crypto.subtle.importKey('pkcs8', new Uint8Array(der), KEY_ALGORITHM, false, ['sign']);
    return { certificatePath, certificate: new x509.X509Certificate(certificatePem), privateKey };
  } catch {
    // Cut off or damaged: as good as none.
    return null;
  }
}

function reasonToReplace(
  certificate: x509.X509Certificate,
  baseHosts: readonly string[],
  nowMs: number,
): string | null {
  const validity = { notBeforeMs: certificate.notBefore.getTime(), notAfterMs: certificate.notAfter.getTime() };
  if (isRenewalDue(validity, nowMs)) return 'the old one has expired or is about to';
  const extension = certificate.getExtension(NAME_CONSTRAINTS);
  const wanted = Buffer.from(constraintsOf(baseHosts));
  const isSame = extension !== null && wanted.equals(Buffer.from(extension.value));
  return isSame ? null : 'the base hosts have changed';
}

async function makeAuthority(baseHosts: readonly string[], nowMs: number) {
  const keys = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
  const { notBeforeMs, notAfterMs } = validityAt(nowMs, AUTHORITY_LIFETIME_MS);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    // The hosts are in the name, to distinguish the CAs of two installations in one trust store.
    name: [{ O: ['Podgate'] }, { CN: [`Podgate development CA (${baseHosts.join(', ').slice(0, 30)})`] }],
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(notAfterMs),
    keys,
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.Extension(NAME_CONSTRAINTS, true, constraintsOf(baseHosts)),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
    ],
  });
  return { certificate, keys };
}

/** These hosts and what lies below them; no address at all. */
function constraintsOf(baseHosts: readonly string[]): ArrayBuffer {
  const subtrees = (names: readonly GeneralName[]): GeneralSubtrees =>
    new GeneralSubtrees(names.map((base) => new GeneralSubtree({ base })));
  const everyAddress = (bytes: number): GeneralName =>
    // Address and mask, both all zero.
    AsnConvert.parse(
      new Uint8Array([0x87, bytes * 2, ...Array.from<number>({ length: bytes * 2 }).fill(0)]),
      GeneralName,
    );
  return AsnConvert.serialize(
    new NameConstraints({
      permittedSubtrees: subtrees([...baseHosts].sort().map((dNSName) => new GeneralName({ dNSName }))),
      excludedSubtrees: subtrees([everyAddress(4), everyAddress(16)]),
    }),
  );
}

async function readIfAny(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (kindOfError(error) === 'absent') return null;
    throw error;
  }
}

async function writePrivately(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  await writeFile(temporary, text, { mode: 0o600, flush: true });
  await rename(temporary, path);
}
