import { readFile } from 'node:fs/promises';
import { composeDnsAnswers } from '../../certs/acme/dns/compose-dns-answers.ts';
import { type DnsSettings, TSIG_ALGORITHMS } from '../../certs/acme/dns/dns-settings.ts';
import type { AcmeSettings } from '../../certs/manager/acme-settings.ts';
import { type CertificateManager, createCertificateManager } from '../../certs/manager/certificate-manager.ts';
import { runCertificateFiles } from '../../certs/files/certificate-files.ts';
import type { AcmeDnsConfig, Config } from '../../config/config.ts';
import { tsigKeyOf } from '../../config/dns-section.ts';
import { createLeadership } from '../../control/leadership/leadership.ts';
import { ServedCertificates } from '../../control/workers/served-certificates.ts';
import { createChallengesEverywhere } from '../../control/workers/challenges-everywhere.ts';
import type { ControlRouteFeed } from '../../control/routes/route-feed.ts';
import type { WantedName } from '../../core/certificates.ts';
import type { ControlBase } from './control-base.ts';

export interface Certificates {
  /** What the workers get: from files, by ACME, and from the development CA. */
  readonly served: ServedCertificates;
  readonly manager: CertificateManager;
  /** Loads, orders and renews them. */
  run(signal: AbortSignal): Promise<void>;
}

/** Throws as reading the files that the configuration names does. */
export async function composeCertificates(base: ControlBase): Promise<Certificates> {
  const { config, database, keys, isStoreHealthy, feed, arrivals, clock, log } = base;
  const { store, lock, replicas } = database;
  const dnsSettings = await dnsSettingsOf(config.acme?.dns ?? null, config.podEnvironment.path);
  const served = new ServedCertificates(['files', 'wildcard', 'per-host', 'development']);
  const challenges = createChallengesEverywhere({ served, replicas, arrivals });
  const manager = createCertificateManager({
    store,
    vault: keys.vault,
    isStoreHealthy,
    clock,
    log,
    settings: await acmeSettingsOf(config),
    sink: served,
    leadership: createLeadership({ lock, name: 'certificates', clock, log }),
    everywhere: (uids, timeoutMs, signal) => challenges.wait(uids, timeoutMs, signal),
    dns: dnsSettings === null ? null : composeDnsAnswers({ settings: dnsSettings, store, clock, log }),
    nameOf: (host) => nameOf(config, feed, host),
    isTableComplete: () => feed.isReady,
    served: () => served.all(),
    coverage: (nowMs) => served.coverage(['files'], nowMs),
  });
  return {
    served,
    manager,
    async run(signal) {
      const files = { files: config.certificates, clock, log };
      await Promise.all([
        challenges.run(signal),
        manager.run(signal),
        runCertificateFiles(files, (read) => served.replace('files', read), signal),
        keys.developmentCa.run((made) => served.replace('development', made), signal),
      ]);
    },
  };
}

function nameOf({ tenants }: Config, feed: ControlRouteFeed, host: string): WantedName | null {
  const tenant = tenants.find(({ baseHost }) => host.endsWith(`.pods.${baseHost}`));
  return tenant === undefined ? null : feed.nameOf(tenant.id, host);
}

/** With the secrets from the configured files. */
async function acmeSettingsOf({ acme, tenants }: Config): Promise<AcmeSettings | null> {
  if (acme === null) return null;
  const { externalAccount, caFile } = acme;
  return {
    server: {
      directoryUrl: acme.directoryUrl,
      ca: caFile === null ? null : await readFile(caFile, 'utf8'),
      externalAccount:
        externalAccount === null
          ? null
          : {
              keyId: externalAccount.keyId,
              hmacKey: (await readFile(externalAccount.hmacKeyFile, 'utf8')).trim(),
            },
    },
    emails: acme.contacts,
    challenges: acme.challenges,
    preferredChain: acme.preferredChain,
    limits: acme.budgetPerWeek,
    tenants: tenants
      .filter(({ id }) => acme.tenants.includes(id))
      .map(({ id, baseHost }) => ({ tenant: id, baseHost, hasWildcard: acme.dns !== null, hasPerHost: acme.perHost })),
  };
}

/** With the key or token from the configured file. */
async function dnsSettingsOf(config: AcmeDnsConfig | null, path: string): Promise<DnsSettings | null> {
  if (config === null) return null;
  const { writer } = config;
  switch (writer.kind) {
    case 'exec':
      return { ...config, writer: { ...writer, path } };
    case 'http': {
      const token = (await readFile(writer.tokenFile, 'utf8')).trim();
      const ca = writer.caFile === null ? null : await readFile(writer.caFile, 'utf8');
      return { ...config, writer: { kind: 'http', url: writer.url, token, ca, timeoutMs: writer.timeoutMs } };
    }
    case 'update': {
      const key = tsigKeyOf(await readFile(writer.keyFile, 'utf8'));
      const algorithm = TSIG_ALGORITHMS.find((one) => one === key?.algorithm);
      // It was valid when the configuration was read.
      if (key === null || algorithm === undefined) throw new Error(`${writer.keyFile} no longer contains a key`);
      const secret = Buffer.from(key.secret, 'base64');
      return {
        ...config,
        writer: { kind: 'update', server: writer.server, key: { name: key.name, algorithm, secret } },
      };
    }
  }
}
