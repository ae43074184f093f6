import { readFile } from 'node:fs/promises';
import { pause } from '../../core/abort.ts';
import { coalesce } from '../../core/coalesce.ts';
import type { Certificate } from '../../core/certificates.ts';
import type { Clock } from '../../core/clock.ts';
import { errorCode } from '../../core/error-code.ts';
import type { Logger } from '../../core/logger.ts';
import { readCertificatePair } from './certificate-pair.ts';

/** Names of two files, absolute. */
export interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

export interface FileCertificate extends Certificate {
  /** The name of its certificate file. */
  readonly id: string;
  readonly notAfterMs: number;
}

export interface CertificateFilesOptions {
  readonly files: readonly CertificateFiles[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: LOOK_EVERY_MS. */
  readonly lookEveryMs?: number;
}

/**
 * The files are read again at this interval, which costs microseconds. File notifications would have to follow the links that
 * Kubernetes swaps (`..data`), and directories that come and go.
 */
const LOOK_EVERY_MS = 1_000;
const FILE_MAX_BYTES = 256 * 1024;
const LAPSES_SOON_MS = 21 * 86_400_000;
const REMIND_EVERY_MS = 86_400_000;

/** What is wrong with each pair now, as sentences for the operator. */
export async function certificateFileProblems(files: readonly CertificateFiles[]): Promise<readonly string[]> {
  const reads = await Promise.all(files.map(readPair));
  return reads.flatMap((read, at) =>
    read.kind === 'good' ? [] : [`${files[at]?.certificateFile ?? ''}: ${read.reason}`],
  );
}

/**
 * Publishes the operator's certificates at once and whenever their files change, until the signal aborts. A pair that is
 * broken (incomplete, mismatched, missing) is logged once with the reason, and the previous one stays in use.
 */
export async function runCertificateFiles(
  { files, clock, log, lookEveryMs = LOOK_EVERY_MS }: CertificateFilesOptions,
  publish: (certificates: readonly FileCertificate[]) => void,
  signal: AbortSignal,
): Promise<void> {
  const served = new Map<string, FileCertificate>();
  const toldProblems = new Map<string, string>();
  const remindedMs = new Map<string, number>();
  let isFirst = true;
  while (!signal.aborted) {
    let isChanged = isFirst;
    isFirst = false;
    for (const pair of files) {
      const id = pair.certificateFile;
      const read = await readPair(pair);
      if (read.kind === 'bad') {
        if (toldProblems.get(id) !== read.reason) {
          log.error(
            { file: id, reason: read.reason },
            'a certificate file is unusable; the previous certificate stays in use',
          );
        }
        toldProblems.set(id, read.reason);
      } else {
        toldProblems.delete(id);
        const { certificate, notAfterMs } = read;
        if (served.get(id)?.certificatePem !== certificate.certificatePem) {
          served.set(id, { ...certificate, id, notAfterMs });
          isChanged = true;
          log.info({ file: id, names: certificate.names, validTo: dayOf(notAfterMs) }, 'certificate file loaded');
        }
      }
      remindOf(served.get(id));
    }
    if (isChanged) publish([...served.values()]);
    await pause(coalesce(lookEveryMs), signal);
  }

  function remindOf(certificate: FileCertificate | undefined): void {
    if (certificate === undefined) return;
    const { id, names, notAfterMs } = certificate;
    const nowMs = clock.now();
    const last = remindedMs.get(id) ?? Number.NEGATIVE_INFINITY;
    if (notAfterMs - nowMs > LAPSES_SOON_MS || clock.monotonicMs() - last < REMIND_EVERY_MS) return;
    remindedMs.set(id, clock.monotonicMs());
    const what = notAfterMs <= nowMs ? 'a certificate has expired' : 'a certificate will expire soon';
    log.error({ file: id, names, validTo: dayOf(notAfterMs) }, `${what}: replace its files with a new one`);
  }
}

async function readPair({ certificateFile, keyFile }: CertificateFiles) {
  const [certificate, key] = await Promise.all([readText(certificateFile), readText(keyFile)]);
  if (typeof certificate !== 'string') return { kind: 'bad' as const, reason: certificate.problem };
  if (typeof key !== 'string') return { kind: 'bad' as const, reason: `its key file: ${key.problem}` };
  return readCertificatePair(certificate, key);
}

async function readText(file: string): Promise<string | { readonly problem: string }> {
  try {
    const bytes = await readFile(file);
    return bytes.length > FILE_MAX_BYTES ? { problem: 'the file is too large' } : bytes.toString('latin1');
  } catch (error) {
    const code = errorCode(error) ?? 'unknown error';
    return { problem: `the file cannot be read (${code})` };
  }
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
