import { connect, type TLSSocket } from 'node:tls';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import { errorText } from '../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../core/finding.ts';

const DEADLINE_MS = 5_000;
const DAY_MS = 86_400_000;
const WARN_DAYS = 21;

/** Where the program of this installation answers on this machine. */
export interface Ports {
  readonly host: string;
  readonly https: number;
  /** Others with the same front. */
  readonly listeners: readonly number[];
  readonly control: number;
}

/** The running program: does it answer, is it ready, and which certificates does it show to whom. Nothing throws. */
export async function* examineGateway(config: Config, ports: Ports, nowMs: number): AsyncGenerator<Finding> {
  yield await examineReadiness(ports);
  const hosts = config.tenants.flatMap(({ baseHost }) => [baseHost, `podgate-doctor.pods.${baseHost}`]);
  for (const host of hosts) {
    try {
      yield judgeCertificate(host, await shownTo(host, ports, authorityOf(config)), nowMs);
    } catch (error) {
      const where = `${ports.host}:${ports.https}`;
      yield fail(
        'gateway',
        `No TLS response for ${host} at ${where}: ${errorText(error)}.`,
        'Start Podgate or check its log; run this command where Podgate runs.',
      );
    }
  }
  const [{ baseHost }] = config.tenants;
  for (const port of ports.listeners) yield await examineListener(port, baseHost, ports, authorityOf(config));
}

async function examineListener(port: number, baseHost: string, ports: Ports, ca: string | undefined): Promise<Finding> {
  try {
    await shownTo(baseHost, { ...ports, https: port }, ca);
    return ok('listeners', `Port ${port} is served as well.`);
  } catch (error) {
    return fail(
      'listeners',
      `No TLS response at ${ports.host}:${port}: ${errorText(error)}.`,
      'Listeners are opened at start: stop Podgate and start it again.',
    );
  }
}

async function examineReadiness({ host, control }: Ports): Promise<Finding> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${control}/readyz`;
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) });
    const { result } = (await answer.json()) as { result?: unknown };
    const detail = Object.entries(typeof result === 'object' && result !== null ? result : {})
      .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
      .join(', ');
    if (!answer.ok)
      return fail(
        'Podgate',
        `Podgate is running but not ready: ${detail}.`,
        'Check its log, and see docs/operations.md.',
      );
    if (!detail.includes('suspect')) return ok('Podgate', `Podgate is running and ready: ${detail}.`);
    return fail(
      'Podgate',
      `Podgate serves existing routes and changes nothing: ${detail}.`,
      'See "The store is suspect" in docs/operations.md.',
    );
  } catch (error) {
    return fail('Podgate', `No response from ${url}: ${causeOf(error)}.`, 'Start Podgate, or check its log.');
  }
}

interface ShownCertificate {
  readonly certificate: PeerCertificate;
  /** Why a client of this machine would not believe it; null = it would. */
  readonly distrust: string | null;
}

/** Only looked at: nothing is said over the connection, so it may be one that nobody should trust. */
function shownTo(host: string, { host: address, https }: Ports, ca: string | undefined): Promise<ShownCertificate> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({
      host: address,
      port: https,
      servername: host,
      rejectUnauthorized: false,
      timeout: DEADLINE_MS,
      ...(ca === undefined ? {} : { ca }),
    });
    socket.once('secureConnect', () => {
      const { authorizationError } = socket;
      const certificate = socket.getPeerCertificate();
      const distrust = socket.authorized ? null : String(authorizationError);
      socket.destroy();
      resolve({ certificate, distrust });
    });
    socket.once('error', reject);
    socket.once('timeout', () => socket.destroy(new Error(`no response within ${DEADLINE_MS} ms`)));
  });
}

/** Pure. */
export function judgeCertificate(host: string, { certificate, distrust }: ShownCertificate, nowMs: number): Finding {
  const subject = 'certificate';
  const mismatch = checkServerIdentity(host, certificate);
  if (mismatch !== undefined) {
    const names = certificate.subjectaltname ?? 'none';
    return fail(
      subject,
      `The certificate presented for ${host} is not valid for it (${names}).`,
      'Configure one under certificates that is valid for the base host and *.pods.<base host>.',
    );
  }
  const days = Math.floor((Date.parse(certificate.valid_to) - nowMs) / DAY_MS);
  const until = `until ${new Date(certificate.valid_to).toISOString().slice(0, 10)}`;
  if (days < 0) return fail(subject, `The certificate for ${host} has expired (valid ${until}).`, 'Renew it now.');
  if (distrust !== null) {
    return warn(
      subject,
      `The certificate for ${host} (valid ${until}) is not trusted on this machine: ${distrust}.`,
      'This is fine with your own CA if clients trust it. Otherwise, get a certificate from a public CA, with its full chain.',
    );
  }
  if (days < WARN_DAYS)
    return warn(subject, `The certificate for ${host} expires in ${days} days (${until}).`, 'Renew it.');
  return ok(subject, `The certificate for ${host} is valid ${until}.`);
}

/** The embedded authority; otherwise those that this machine trusts. */
function authorityOf({ dataDir, orchestrator }: Config): string | undefined {
  if (orchestrator !== 'process') return undefined;
  try {
    return readFileSync(join(dataDir, 'ca.pem'), 'utf8');
  } catch {
    return undefined;
  }
}

/** fetch says "fetch failed", and why in the cause. */
function causeOf(error: unknown): string {
  return error instanceof Error && error.cause instanceof Error ? error.cause.message : errorText(error);
}
