import { isAborted, pause } from '../../../core/abort.ts';
import { backoffMs } from '../../../core/backoff.ts';
import type { ChallengeTextRecord } from '../../../core/certificates.ts';
import type { Clock } from '../../../core/clock.ts';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { ChallengeAnswer, ChallengeAnswers } from '../acme-order.ts';
import { AcmeError } from '../acme-error.ts';
import type { DnsSettings, TextWriter } from './dns-settings.ts';
import type { Lookup, NameServer } from './lookup.ts';
import type { RememberedTexts } from './remembered-texts.ts';

const POLL_BACKOFF = { firstMs: 250, maxMs: 5_000, factor: 1.5 };
/** The orders wait meanwhile; the rest has its turn with the next sweep. */
const LEFTOVERS_MS = 30_000;

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
  /**
   * Removes records that were left behind by a killed process, or by this one, except those of orders in progress. A record
   * that cannot be removed does not hold up the others; rejects at the end with the names of those that remain.
   */
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
  /** By uid: when a leftover was last tried. */
  const triedMs = new Map<string, number>();

  async function write(answer: ChallengeAnswer, signal: AbortSignal): Promise<ChallengeTextRecord> {
    const name = await lookup.target(`_acme-challenge.${answer.host}`, signal);
    const record = await remembered.remember({ host: answer.host, name, value: answer.value });
    present.set(answer, record);
    await writer.add(name, answer.value, signal);
    return record;
  }

  async function untilShown(record: ChallengeTextRecord, signal: AbortSignal): Promise<void> {
    const { name, value } = record;
    const servers: readonly NameServer[] =
      settings.nameServers.length > 0
        ? settings.nameServers.map((server) => [server])
        : await lookup.serversOf(await lookup.zoneOf(name, signal), signal);
    const endMs = clock.monotonicMs() + settings.propagationTimeoutMs;
    let late = servers;
    for (let polls = 1; ; polls++) {
      const shown = await Promise.all(late.map((server) => isShown(server, name, value, signal)));
      late = late.filter((_, index) => shown[index] !== true);
      if (late.length === 0) return;
      if (clock.monotonicMs() >= endMs) {
        throw new AcmeError(
          'refused',
          `${name} was written, and after ${settings.propagationTimeoutMs / 1_000} s not shown by ${late.flat().join(', ')}`,
        );
      }
      await pause(backoffMs(polls, POLL_BACKOFF), signal);
      signal.throwIfAborted();
    }
  }

  /**
   * At one of its addresses at least, and at every one that answers: an address that cannot be reached from here (IPv6 that
   * leads nowhere) says nothing about the server.
   */
  async function isShown(server: NameServer, name: string, value: string, signal: AbortSignal): Promise<boolean> {
    const seen = await Promise.all(server.map((address) => lookAt(address, name, value, signal)));
    return seen.includes('shown') && !seen.includes('missing');
  }

  async function lookAt(
    address: string,
    name: string,
    value: string,
    signal: AbortSignal,
  ): Promise<'shown' | 'missing' | 'silent'> {
    try {
      return (await lookup.textsAt(address, name, signal)).includes(value) ? 'shown' : 'missing';
    } catch (error) {
      signal.throwIfAborted();
      log.debug({ server: address, name, error: errorText(error) }, 'a name server does not respond');
      return 'silent';
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
          log.warn({ name: record.name, error: errorText(error) }, 'failed to remove a DNS record; will retry');
        });
      }
    },

    async removeLeftovers(signal) {
      const underWay = new Set([...present.values()].map(({ uid }) => uid));
      const failed: { readonly name: string; readonly error: unknown }[] = [];
      const left = (await remembered.all()).filter(({ uid }) => !underWay.has(uid));
      const endMs = clock.monotonicMs() + LEFTOVERS_MS;
      // Those tried longest ago come first: one that hangs each time keeps none from its turn.
      for (const record of left.toSorted((a, b) => (triedMs.get(a.uid) ?? 0) - (triedMs.get(b.uid) ?? 0))) {
        if (isAborted(signal)) return;
        if (clock.monotonicMs() > endMs) break;
        triedMs.set(record.uid, clock.monotonicMs());
        await takeAway(record, signal).catch((error: unknown) => failed.push({ name: record.name, error }));
      }
      const uids = new Set(left.map(({ uid }) => uid));
      for (const uid of triedMs.keys()) if (!uids.has(uid)) triedMs.delete(uid);
      const [first] = failed;
      if (first === undefined || isAborted(signal)) return;
      const names = [...new Set(failed.map(({ name }) => name))].join(', ');
      throw new AcmeError('refused', `DNS records are left at ${names}: ${errorText(first.error)}`, {
        cause: first.error,
      });
    },
  };
}
