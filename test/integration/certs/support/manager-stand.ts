import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AcmeSettings } from '../../../../certs/manager/acme-settings.ts';
import { type CertificateManager, createCertificateManager } from '../../../../certs/manager/certificate-manager.ts';
import type { CertificateToServe } from '../../../../certs/manager/certificate-view.ts';
import { createLeadership } from '../../../../control/leadership/leadership.ts';
import { ServedCertificates } from '../../../../control/workers/served-certificates.ts';
import { createChallengesEverywhere } from '../../../../control/workers/challenges-everywhere.ts';
import { createKeyringVault } from '../../../../control/vault/keyring-vault.ts';
import { type makeKey } from '../../../../control/vault/keyring-file.ts';
import type { ServedCertificate, WantedName } from '../../../../core/certificates.ts';
import type { Lock } from '../../../../core/lock.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { Replicas } from '../../../../core/replicas.ts';
import type { Store } from '../../../../core/store.ts';

export type Key = ReturnType<typeof makeKey>;

export interface StandOptions {
  readonly database: { readonly store: Store; readonly lock: Lock; readonly replicas: Replicas };
  readonly settings: AcmeSettings | null;
  readonly keys: readonly [Key, ...Key[]];
  /** The operator's own. */
  readonly files: readonly CertificateToServe[];
}

/** The certificates of one replica, with a wall clock and a route table that a test sets. */
export class Stand {
  readonly manager: CertificateManager;
  readonly certificates = new ServedCertificates(['files', 'wildcard', 'per-host', 'development']);
  readonly names = new Map<string, WantedName>();
  readonly lines: string[] = [];
  /** Of each change that reached the workers: the names, and when by `performance.now()`. */
  readonly changes: { readonly names: readonly string[]; readonly atMs: number }[] = [];
  /** Of the wall clock. */
  offsetMs = 0;
  readonly #ending = new AbortController();
  readonly #running: Promise<unknown>;

  constructor({ database, settings, keys, files }: StandOptions) {
    const { store, lock, replicas } = database;
    const clock = { now: () => Date.now() + this.offsetMs, monotonicMs: () => performance.now() };
    const log = keepLines(this.lines);
    const challenges = createChallengesEverywhere({
      served: this.certificates,
      replicas,
      arrivals: { areAwaited: false },
    });
    const leadership = createLeadership({
      ...{ lock, name: 'certificates', clock, log },
      ...{ leaseMs: 2_000, renewEveryMs: 500, retryMs: 100 },
    });
    this.manager = createCertificateManager({
      ...{ settings, store, leadership, clock, log, sink: this.certificates, dns: null, lookMs: 100 },
      vault: createKeyringVault(keys),
      everywhere: (uids, timeoutMs, signal) => challenges.wait(uids, timeoutMs, signal),
      nameOf: (host) => this.names.get(host) ?? null,
      isTableComplete: () => true,
      served: () => this.certificates.all(),
      coverage: (nowMs) => this.certificates.coverage(['files'], nowMs),
      isStoreHealthy: async () => true,
    });
    this.#followAsWorker();
    this.certificates.replace('files', files);
    this.certificates.replace('development', []);
    const { signal } = this.#ending;
    this.#running = Promise.all([this.manager.run(signal), challenges.run(signal)]);
  }

  /** A pod of this name is in the route table. */
  addPod(host: string, more: Partial<WantedName> = {}): void {
    this.names.set(host, { host, tenant: 'dev', user: 'alice', isEndedHere: true, ...more });
  }

  served(name: string): ServedCertificate | undefined {
    return [...this.certificates.all()].find(({ names }) => names.includes(name));
  }

  status(name: string) {
    return this.manager.report().certificates.find(({ names }) => names.includes(name));
  }

  async end(): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  #followAsWorker(): void {
    const { certificates, changes } = this;
    let applied = -1;
    certificates.follow({
      changed: ({ set }) => {
        for (const { names } of set) changes.push({ names, atMs: performance.now() });
      },
      challengesChanged: () => void (applied = certificates.challengesNumber),
      get appliedChallenges() {
        return applied;
      },
      becameReady: () => void (applied = certificates.challengesNumber),
    });
  }
}

/** Answers http-01 as the workers of these replicas do. */
export async function answerAt(port: number, stands: readonly Stand[]): Promise<Server> {
  const server = createServer((request, response) => {
    const token = (request.url ?? '').replace('/.well-known/acme-challenge/', '');
    // Whichever is asked: chance decides.
    const text = stands[Math.floor(Math.random() * stands.length)]?.certificates.challenges.http[token];
    response.writeHead(text === undefined ? 404 : 200).end(text);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function keepLines(lines: string[]): Logger {
  const keep =
    (level: string) =>
    (fields: object, message: string): void =>
      void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const log: Logger = {
    ...{ debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') },
    child: () => log,
  };
  return log;
}
