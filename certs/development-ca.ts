import { pause } from '../core/abort.ts';
import type { Certificate, Issuer } from '../core/certificates.ts';
import type { Clock } from '../core/clock.ts';
import { errorText, PodgateError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { openAuthority } from './development-authority.ts';
import { LEAF_LIFETIME_MS, signLeaf, validityAt } from './development-leaf.ts';
import { isRenewalDue } from './renewal.ts';

/** How often the clock is looked at: it may have jumped, and timers of weeks overflow. */
const LOOK_EVERY_MS = 60 * 60_000;
const RETRY_MS = 60_000;

export interface DevelopmentCaOptions {
  /** Where `ca.pem` and `ca.key` are, or are made. */
  readonly dir: string;
  readonly baseHosts: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
  /** How often the clock is looked at; default: every hour. */
  readonly lookEveryMs?: number;
}

export interface DevelopmentCertificate extends Certificate {
  /** Its base host. */
  readonly id: string;
  readonly notAfterMs: number;
}

export interface DevelopmentCa extends Issuer {
  /** What clients should trust. */
  readonly caPath: string;
  /**
   * Publishes one certificate for each base host - itself and `*.pods.<base host>` - at once and again before it ends,
   * until the signal aborts.
   */
  run(publish: (certificates: readonly DevelopmentCertificate[]) => void, signal: AbortSignal): Promise<void>;
}

/**
 * This installation's own certificate authority, created once, for machines without a public name. Name constraints limit
 * it to the base hosts: those who trust it, and those who steal its key, get no other name (RFC 5280 4.2.1.10).
 */
export async function openDevelopmentCa(options: DevelopmentCaOptions): Promise<DevelopmentCa> {
  const { baseHosts, clock, log } = options;
  const authority = await openAuthority(options);

  const issue = async (names: readonly string[], signal: AbortSignal): Promise<Certificate> => {
    signal.throwIfAborted();
    const outside = names.filter((name) => !isWithin(name, baseHosts));
    if (names.length === 0 || outside.length > 0) {
      throw new PodgateError('config.invalid', {
        publicMessages: [`The development CA signs for ${baseHosts.join(', ')} only, not for: ${outside.join(', ')}.`],
      });
    }
    return await signLeaf(authority, names, clock.now());
  };

  return {
    caPath: authority.certificatePath,
    issue,
    async run(publish, signal) {
      while (!signal.aborted) {
        let waitMs = RETRY_MS;
        try {
          const validity = validityAt(clock.now(), LEAF_LIFETIME_MS);
          publish(
            await Promise.all(
              baseHosts.map(async (host) => ({
                ...(await issue([host, `*.pods.${host}`], signal)),
                id: host,
                notAfterMs: validity.notAfterMs,
              })),
            ),
          );
          await untilDue(validity, clock, options.lookEveryMs ?? LOOK_EVERY_MS, signal);
          waitMs = 0;
        } catch (error) {
          log.error({ error: errorText(error) }, 'failed to create a certificate; retrying');
        }
        await pause(waitMs, signal);
      }
    },
  };
}

async function untilDue(
  validity: Parameters<typeof isRenewalDue>[0],
  clock: Clock,
  lookEveryMs: number,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted && !isRenewalDue(validity, clock.now())) {
    await pause(lookEveryMs, signal);
  }
}

function isWithin(name: string, baseHosts: readonly string[]): boolean {
  const host = name.startsWith('*.') ? name.slice(2) : name;
  return baseHosts.some((baseHost) => host === baseHost || host.endsWith(`.${baseHost}`));
}
