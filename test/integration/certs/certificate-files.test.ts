import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  certificateFileProblems,
  type FileCertificate,
  runCertificateFiles,
} from '../../../certs/files/certificate-files.ts';
import { readCertificatePair } from '../../../certs/files/certificate-pair.ts';
import { systemClock } from '../../../main/system-clock.ts';
import { silentLog } from '../../support/silent-log.ts';
import { createTestAuthority, type TestAuthority } from '../../support/test-authority.ts';
import { until } from '../../support/until.ts';

let directory: string;
let one: TestAuthority;
let other: TestAuthority;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'podgate-files-'));
  [one, other] = await Promise.all([
    createTestAuthority(['*.pods.example.org', 'Example.org']),
    createTestAuthority(['b.c']),
  ]);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('a pair of PEM texts', () => {
  it('is accepted when the key belongs to the leaf, with the names and the chain of the file', () => {
    const read = readCertificatePair(`text before\n${one.certificate}${one.ca}`, one.key);
    if (read.kind === 'bad') throw new Error(read.reason);
    expect(read.certificate.names).toEqual(['*.pods.example.org', 'example.org']);
    expect(read.certificate.certificatePem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(read.certificate.privateKeyPem).toContain('BEGIN PRIVATE KEY');
    expect(read.notAfterMs).toBeGreaterThan(Date.now());
  });

  it('is rejected with a reason that does not contain the key', () => {
    const reasonOf = (certificate: string, key: string): string => {
      const read = readCertificatePair(certificate, key);
      return read.kind === 'bad' ? read.reason : 'good';
    };
    expect(reasonOf('', one.key)).toBe('the file contains no certificate in PEM format');
    expect(reasonOf(one.certificate.slice(0, 300), one.key)).toBe('the file contains no certificate in PEM format');
    expect(reasonOf(one.certificate.replace(/M/g, 'N'), one.key)).toMatch('certificate 1 of the file cannot be read');
    expect(reasonOf(one.certificate, other.key)).toBe('the key does not match the certificate');
    expect(reasonOf(one.certificate, one.key.slice(0, 100))).toMatch('contains no private key');
    expect(reasonOf(one.ca + one.certificate, one.key)).toMatch('was not issued by the next one');
    expect(reasonOf(one.ca, one.key)).toBe('the key does not match the certificate');
  });
});

describe('certificate files of the operator', () => {
  const published: (readonly FileCertificate[])[] = [];
  const stop = new AbortController();

  it('are served at once and after a change; a broken pair changes nothing, and a replaced link counts as a change', async () => {
    const fill = async (name: string, certificate: string, key: string): Promise<void> => {
      await writeFile(join(directory, `${name}.crt`), certificate);
      await writeFile(join(directory, `${name}.key`), key);
      // As Kubernetes exchanges what a volume of a Secret shows.
      for (const end of ['crt', 'key']) {
        await symlink(`${name}.${end}`, join(directory, `new.${end}`));
        await rename(join(directory, `new.${end}`), join(directory, `tls.${end}`));
      }
    };
    await fill('first', one.certificate, one.key);
    const files = [{ certificateFile: join(directory, 'tls.crt'), keyFile: join(directory, 'tls.key') }];
    expect(await certificateFileProblems(files)).toEqual([]);
    const running = runCertificateFiles(
      { files, clock: systemClock, log: silentLog, lookEveryMs: 10 },
      (certificates) => published.push(certificates),
      stop.signal,
    );
    await until('the first is there', () => published.length === 1);
    expect(published[0]?.[0]).toMatchObject({
      id: join(directory, 'tls.crt'),
      names: ['*.pods.example.org', 'example.org'],
    });

    await writeFile(join(directory, 'first.key'), other.key);
    await until('the problem is seen', async () => (await certificateFileProblems(files)).length === 1);
    expect(await certificateFileProblems(files)).toEqual([
      `${join(directory, 'tls.crt')}: the key does not match the certificate`,
    ]);
    await rm(join(directory, 'first.crt'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(published).toHaveLength(1);

    await fill('second', other.certificate, other.key);
    await until('the second is there', () => published.length === 2);
    expect(published[1]?.map(({ names }) => names)).toEqual([['b.c']]);
    stop.abort();
    await running;
  });
});
