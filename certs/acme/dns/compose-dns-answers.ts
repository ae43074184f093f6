import type { Clock } from '../../../core/clock.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import { createDnsAnswers, type DnsAnswers } from './dns-answers.ts';
import type { DnsSettings, TextWriter } from './dns-settings.ts';
import { createExecWriter } from './exec-writer.ts';
import { createHttpWriter } from './http-writer.ts';
import { createLookup, type Lookup } from './lookup.ts';
import { createRememberedTexts } from './remembered-texts.ts';
import { createUpdateWriter } from './update-writer.ts';

/** dns-01 as it is configured. */
export function composeDnsAnswers(parts: {
  readonly settings: DnsSettings;
  readonly store: Pick<Store, 'get' | 'list' | 'commit'>;
  readonly clock: Clock;
  readonly log: Logger;
}): DnsAnswers {
  const { settings, store, clock } = parts;
  const lookup = createLookup(settings.resolvers);
  const writer = writerOf(settings.writer, lookup, clock);
  return createDnsAnswers({ ...parts, writer, lookup, remembered: createRememberedTexts(store, clock) });
}

function writerOf(writer: DnsSettings['writer'], lookup: Lookup, clock: Clock): TextWriter {
  switch (writer.kind) {
    case 'update':
      return createUpdateWriter({ ...writer, clock, zoneOf: (name, signal) => lookup.zoneOf(name, signal) });
    case 'exec':
      return createExecWriter(writer);
    case 'http':
      return createHttpWriter(writer);
  }
}
