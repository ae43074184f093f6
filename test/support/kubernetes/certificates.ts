import 'reflect-metadata';
import { generateKeyPairSync, randomBytes, webcrypto, type KeyObject } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** PEM. */
export interface KeyAndCertificate {
  readonly key: string;
  readonly certificate: string;
}

/** Everything that speaks TLS around one API server, signed by one CA made for it. */
export interface ClusterCertificates {
  readonly ca: string;
  /** Of the API server, for these addresses. */
  readonly server: KeyAndCertificate;
  /** A client that may do everything (group system:masters). */
  readonly admin: KeyAndCertificate;
  /** The API server as client of kubelets. */
  readonly kubeletClient: KeyAndCertificate;
  /** Of the kubelet, for any address that the stand-in may listen on. */
  readonly kubelet: KeyAndCertificate;
  /** Signs tokens of ServiceAccounts. */
  readonly serviceAccounts: { readonly key: string; readonly publicKey: string };
  /** One more: `subject` as `O=system:nodes, CN=system:node:node-1`; `addresses` are IP addresses. */
  readonly issue: (
    subject: string,
    usage: 'client' | 'server',
    names?: { readonly dns: readonly string[]; readonly addresses: readonly string[] },
  ) => Promise<KeyAndCertificate>;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 60 * 60_000;
const EXTENDED_KEY_USAGES = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

/** Made by a library of ours, not by certs/: what tests stand on must not depend on what they test. */
export async function makeClusterCertificates(names: {
  readonly serverAddress: string;
  readonly kubernetesServiceAddress: string;
  readonly kubeletName: string;
  readonly kubeletAddresses: readonly string[];
}): Promise<ClusterCertificates> {
  const caKeys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  // A clock that a test turns back or forward by hours must not end them.
  const validity = { notBefore: new Date(Date.now() - 2 * DAY_MS), notAfter: new Date(Date.now() + 3 * DAY_MS) };
  const ca = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial(),
      name: 'CN=podgate test cluster',
      ...validity,
      signingAlgorithm: ALGORITHM,
      keys: caKeys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey),
      ],
    },
    webcrypto,
  );

  const sign = async (
    subject: string,
    usage: keyof typeof EXTENDED_KEY_USAGES,
    alternatives: x509.JsonGeneralNames = [],
  ): Promise<KeyAndCertificate> => {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: serial(),
        subject,
        issuer: ca.subject,
        ...validity,
        signingAlgorithm: ALGORITHM,
        publicKey: keys.publicKey,
        signingKey: caKeys.privateKey,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([EXTENDED_KEY_USAGES[usage]]),
          ...(alternatives.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(alternatives)]),
        ],
      },
      webcrypto,
    );
    return { certificate: certificate.toString('pem'), key: await pemOf(keys.privateKey) };
  };

  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    ca: ca.toString('pem'),
    server: await sign('CN=kube-apiserver', 'server', [
      ...[names.serverAddress, names.kubernetesServiceAddress, '127.0.0.1'].map(ip),
      ...['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'].map(dns),
    ]),
    admin: await sign('O=system:masters, CN=test-admin', 'client'),
    kubeletClient: await sign('O=system:masters, CN=kube-apiserver-kubelet-client', 'client'),
    kubelet: await sign(`CN=${names.kubeletName}`, 'server', [
      dns(names.kubeletName),
      ...names.kubeletAddresses.map(ip),
    ]),
    serviceAccounts: { key: keyPem(privateKey, 'pkcs8'), publicKey: keyPem(publicKey, 'spki') },
    issue: (subject, usage, alternatives = { dns: [], addresses: [] }) =>
      sign(subject, usage, [...alternatives.dns.map(dns), ...alternatives.addresses.map(ip)]),
  };
}

const ip = (value: string) => ({ type: 'ip', value }) as const;
const dns = (value: string) => ({ type: 'dns', value }) as const;

/** Positive, and never the same twice. */
const serial = (): string => `01${randomBytes(15).toString('hex')}`;

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return `-----BEGIN PRIVATE KEY-----\n${der.toString('base64').replace(/(.{64})/g, '$1\n')}\n-----END PRIVATE KEY-----\n`;
}

function keyPem(key: KeyObject, type: 'pkcs8' | 'spki'): string {
  return key.export({ type, format: 'pem' } as { type: 'spki'; format: 'pem' });
}
