import { isAborted, pause } from '../../../core/abort.ts';
import type { ChallengeTextRecord } from '../../../core/certificates.ts';
import type { Clock } from '../../../core/clock.ts';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { ChallengeAnswer, ChallengeAnswers } from '../acme-order.ts';
import { AcmeError } from '../acme-error.ts';
import type { DnsSettings, TextWriter } from './dns-settings.ts';
import type { Lookup } from './lookup.ts';
import type { RememberedTexts } from './remembered-texts.ts';

const LOOK_FIRST_MS = 250;
const LOOK_MOST_MS = 5_000;

export interface DnsAnswersOptions {
  readonly settings: Pick<DnsSettings, 'nameServers' | 'propagationTimeoutMs'>;
  readonly writer: TextWriter;
  readonly lookup: Lookup;
  readonly remembered: RememberedTexts;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Answers to dns-01 (RFC 8555 8.4). */
export interface DnsAnswers extends ChallengeAnswers {
  /** Takes away what was written and not taken away again: by this process, unless it is at it, or by one that was killed. */
  removeLeftovers(signal: AbortSignal): Promise<void>;
}

/**
 * Each answer is a text at `_acme-challenge.<host>`, or where a CNAME there leads. The ACME server is asked to look only
 * when all servers of the zone show it. Rejects with AcmeError 'refused' and a sentence for the operator.
 */
export function createDnsAnswers(options: DnsAnswersOptions): DnsAnswers {
  const { settings, writer, lookup, remembered, clock, log } = options;
  /** By answer. */
  const present = new Map<ChallengeAnswer, ChallengeTextRecord>();

  async function write(answer: ChallengeAnswer, signal: AbortSignal): Promise<ChallengeTextRecord> {
    const name = await lookup.target(`_acme-challenge.${answer.host}`, signal);
    const record = await remembered.remember({ host: answer.host, name, value: answer.value });
    present.set(answer, record);
    await writer.add(name, answer.value, signal);
    return record;
  }

  async function untilShown(record: ChallengeTextRecord, signal: AbortSignal): Promise<void> {
    const { name, value } = record;
    const servers =
      settings.nameServers.length > 0
        ? settings.nameServers
        : await lookup.serversOf(await lookup.zoneOf(name, signal), signal);
    const endMs = clock.monotonicMs() + settings.propagationTimeoutMs;
    let late = servers;
    for (let waitMs = LOOK_FIRST_MS; ; waitMs = Math.min(LOOK_MOST_MS, waitMs * 1.5)) {
      const shown = await Promise.all(late.map((server) => isShown(server, name, value, signal)));
      late = late.filter((_, index) => shown[index] !== true);
      if (late.length === 0) return;
      if (clock.monotonicMs() >= endMs) {
        throw new AcmeError(
          'refused',
          `${name} was written, and after ${settings.propagationTimeoutMs / 1_000} s not shown by ${late.join(', ')}`,
        );
      }
      await pause(waitMs, signal);
      signal.throwIfAborted();
    }
  }

  /** A server that does not answer is one that does not show it. */
  async function isShown(server: string, name: string, value: string, signal: AbortSignal): Promise<boolean> {
    try {
      return (await lookup.textsAt(server, name, signal)).includes(value);
    } catch (error) {
      signal.throwIfAborted();
      log.debug({ server, name, error: errorText(error) }, 'a name server does not answer');
      return false;
    }
  }

  async function takeAway(record: ChallengeTextRecord, signal: AbortSignal): Promise<void> {
    await writer.remove(record.name, record.value, signal);
    await remembered.forget(record.uid);
  }

  return {
    async present(answers, signal) {
      // One after the other: a provider that rewrites a whole name would lose one of two at once.
      const records: ChallengeTextRecord[] = [];
      for (const answer of answers) records.push(await write(answer, signal));
      await Promise.all(records.map((record) => untilShown(record, signal)));
    },

    async withdraw(answers, signal) {
      for (const answer of answers) {
        const record = present.get(answer);
        if (record === undefined) continue;
        present.delete(answer);
        // What fails here is tried again as a leftover: the certificate does not wait for it.
        await takeAway(record, signal).catch((error: unknown) => {
          log.warn({ name: record.name, error: errorText(error) }, 'a text could not be taken from the DNS yet');
        });
      }
    },

    async removeLeftovers(signal) {
      const underWay = new Set([...present.values()].map(({ uid }) => uid));
      for (const record of await remembered.all()) {
        if (underWay.has(record.uid)) continue;
        if (isAborted(signal)) return;
        await takeAway(record, signal);
      }
    },
  };
}
