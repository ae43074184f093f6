import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createAuthenticator } from '../../../control/auth/authenticator.ts';
import { signToken } from '../../../control/auth/sign-token.ts';
import { makeTokenKey, type TokenKey } from '../../../control/auth/token-key.ts';
import { type Api, type ApiOptions, createApi } from '../../../control/api.ts';
import { createSnapshotCopies, type SnapshotCopies } from '../../../control/resources/snapshots/copies.ts';
import { createVolumeRestores, type VolumeRestores } from '../../../control/resources/volumes/restores.ts';
import { FileJobs } from '../../../control/objects/files/file-jobs.ts';
import { answerClientError } from '../../../control/http/client-error.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { createAdmission } from '../../../control/objects/quota/admission.ts';
import { createUsageOf } from '../../../control/objects/quota/count-usage.ts';
import { openKeyringVault } from '../../../control/vault/keyring-vault.ts';
import type { Clock } from '../../../core/clock.ts';
import type { PodConnectionsReader } from '../../../core/pod-connections-reader.ts';
import type { PodTrafficReader } from '../../../core/pod-traffic.ts';
import type { RouteFeed } from '../../../core/feed-protocol.ts';
import type { DataSnapshots } from '../../../core/data-snapshots.ts';
import { PodgateError } from '../../../core/errors.ts';
import { podKey } from '../../../core/ids.ts';
import { LoginSeals } from '../../../core/pod-login.ts';
import type { Logger } from '../../../core/logger.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { podPut } from '../../../core/pod-put.ts';
import type { VolumeFiles } from '../../../core/volume.ts';
import type { Quotas } from '../../../core/quota.ts';
import { createDirectoryFiles } from '../../../spawner/orchestrator/process/volumes/directory-files.ts';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { LIMITS, quotasOf } from '../../unit/control/limits.ts';
import { noOutput, noShell } from '../../support/no-shell.ts';
import { WireCheck } from '../../support/tapis/wire-check.ts';

const TICKET_KEY = Buffer.alloc(48, 1).toString('base64');

export const TENANTS = [
  { id: 'default', baseHost: 'localhost' },
  { id: 'other', baseHost: 'other.example.org' },
] as const;
export const issuerOf = (tenant: string): string => `https://${tenant}.issuer/v3/tokens`;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: {
    readonly message: string | readonly string[];
    readonly metadata: Record<string, unknown>;
    readonly result: unknown;
    readonly status: string;
    readonly version: string;
  };
}

interface StandChange extends Partial<ApiOptions> {
  /** Default: 20 pods a user. */
  readonly quotas?: Quotas;
  /** Default: in memory. */
  readonly databasePath?: string;
  /** Benchmarks do without: it reads every response. Default: true. */
  readonly checksWire?: boolean;
}

/** The API over a real listener and a real store; what runs and what routes is told by the test. */
export class ApiStand {
  readonly database: SqliteDatabase;
  readonly key: TokenKey;
  readonly api: Api;
  readonly files: VolumeFiles;
  readonly copies: SnapshotCopies;
  readonly restores: VolumeRestores;
  readonly server: Server;
  readonly directory: string;
  readonly logLines: string[] = [];
  /** Those of them that a log at its usual level leaves out. */
  readonly debugLines: string[] = [];
  now = Date.parse('2026-11-23T10:20:30.000Z');
  workloadLogs: () => Promise<string> = async () => '';
  routable: RouteFeed['waitRoutable'] = async () => ({ kind: 'routable' });
  takeData: DataSnapshots['take'] = async () => {
    throw new PodgateError('orchestrator.unavailable', { publicMessages: ['This test copies no data.'] });
  };
  connections: PodConnectionsReader['read'] = async () => ({ replicas: [], missing: [] });
  traffic: PodTrafficReader['read'] = async () => ({ traffic: new Map(), missing: [] });
  readiness: ApiOptions['readiness'] = async () => ({ ok: true, detail: { store: 'answers' } });
  readonly #wireCheck: WireCheck | null;
  readonly #tokens = new Map<string, string>();

  private constructor(directory: string, key: TokenKey, given: StandChange) {
    const { quotas = quotasOf({ pods: 20 }), databasePath = ':memory:', checksWire = true, ...change } = given;
    const usageOf = createUsageOf(({ persistentVolume }) => persistentVolume);
    this.directory = directory;
    this.key = key;
    const clock: Clock = { now: () => this.now, monotonicMs: () => performance.now() };
    const log = this.#logger();
    this.database = openSqliteDatabase({ path: databasePath, clock, log });
    this.files = createDirectoryFiles({ root: join(directory, 'files'), asRoot: false });
    const copyParts = { store: this.database.store, files: this.files, jobs: new FileJobs(log), clock, log };
    this.copies = createSnapshotCopies({ ...copyParts, data: { take: (...request) => this.takeData(...request) } });
    this.restores = createVolumeRestores(copyParts);
    this.api = createApi({
      store: this.database.store,
      logs: this.database.logs,
      orchestrator: { logs: () => this.workloadLogs(), shell: noShell, output: noOutput },
      vault: openKeyringVault(join(directory, 'keyring.json')),
      templates: createTemplateCatalog(),
      feed: { waitRoutable: (...asked) => this.routable(...asked) },
      connections: { read: (uid) => this.connections(uid) },
      traffic: { read: (uids) => this.traffic(uids) },
      clock,
      log,
      authenticator: createAuthenticator({
        tenants: TENANTS.map((tenant) => ({
          ...tenant,
          issuer: issuerOf(tenant.id),
          key: key.publicKeyPem,
          administrators: ['root'],
        })),
        defaultTenant: 'default',
        site: 'dev',
        arePodsSeparated: true,
        clock,
      }),
      tenants: TENANTS,
      site: 'dev',
      version: '1.2.3',
      loginSeals: new LoginSeals(() => [TICKET_KEY]),
      publicHttpsPort: 8443,
      limits: LIMITS,
      admission: createAdmission({
        store: this.database.store,
        quotas,
        usageOf,
        monotonicMs: () => performance.now(),
      }),
      usageOf,
      allowsImages: false,
      mountProblem: null,
      imageAllowList: [],
      siteAdminTenant: null,
      readiness: () => this.readiness(),
      volumes: { files: this.files, copies: this.copies, restores: this.restores, maxSizeMiB: 4_096 },
      ...change,
    });
    this.server = createServer(this.api.serverOptions, this.api.listenerFor('control-port'));
    this.server.on('clientError', answerClientError('1.2.3'));
    this.#wireCheck = checksWire ? new WireCheck(this.server) : null;
  }

  static async start(change: StandChange = {}): Promise<ApiStand> {
    const directory = mkdtempSync(join(tmpdir(), 'podgate-api-'));
    const stand = new ApiStand(directory, await makeTokenKey(join(directory, 'token-key.pem')), change);
    await new Promise<void>((resolve) => stand.server.listen(0, '127.0.0.1', resolve));
    return stand;
  }

  /** Throws when what went over the wire differs from the documents of Tapis in another way than is intended. */
  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    this.database.close();
    rmSync(this.directory, { recursive: true, force: true });
    const differences = this.#wireCheck?.unintended ?? [];
    if (differences.length > 0) throw new Error(`differs from the documents of Tapis:\n${differences.join('\n')}`);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async token(username: string, tenant = 'default', roles: readonly string[] = []): Promise<string> {
    const name = [username, tenant, ...roles].join(' ');
    const token =
      this.#tokens.get(name) ??
      (await signToken({
        username,
        tenant,
        roles,
        issuer: issuerOf(tenant),
        lifetimeSeconds: 3600,
        key: this.key,
        nowMs: this.now,
      }));
    this.#tokens.set(name, token);
    return token;
  }

  /** As that user (null: without a token); `body` is sent as JSON, a string as it is. */
  async call(
    username: string | null,
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(username === null ? {} : { 'X-Tapis-Token': await this.token(username) }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: (text === '' ? {} : JSON.parse(text)) as Answer['body'],
    };
  }

  /** A pod that must come about. */
  async create(username: string, podId: string, change: object = {}): Promise<Record<string, unknown>> {
    const answer = await this.call(username, 'POST', '/v3/pods', {
      pod_id: podId,
      pod_template: 'podgate/hello',
      ...change,
    });
    if (answer.status !== 200) throw new Error(`${answer.status}: ${JSON.stringify(answer.body.message)}`);
    return answer.body.result as Record<string, unknown>;
  }

  async record(podId: string, tenant = 'default'): Promise<PodRecord> {
    const stored = await this.database.store.get('pod', podKey(tenant, podId));
    if (stored === null) throw new Error(`no record of ${podId}`);
    return stored.value;
  }

  /** What the health loop would have written by now. */
  async overwrite(podId: string, change: Partial<PodRecord>): Promise<void> {
    const stored = await this.database.store.get('pod', podKey('default', podId));
    if (stored === null) throw new Error(`no record of ${podId}`);
    const result = await this.database.store.commit({
      puts: [podPut({ ...stored.value, ...change }, stored.revision)],
    });
    if (result.kind !== 'committed') throw new Error(result.kind);
  }

  /** Runs `act` just before the next commit is made: what it changes makes that one conflict. */
  beforeNextCommit(act: () => Promise<unknown>): void {
    const { store } = this.database;
    const commit = store.commit.bind(store);
    store.commit = async (batch) => {
      store.commit = commit;
      await act();
      return await commit(batch);
    };
  }

  #logger(): Logger {
    const write = (fields: object, message: string) => this.logLines.push(`${message} ${JSON.stringify(fields)}`);
    const quiet = (fields: object, message: string): void => {
      write(fields, message);
      this.debugLines.push(this.logLines.at(-1) ?? '');
    };
    const logger: Logger = { debug: quiet, info: write, warn: write, error: write, child: () => logger };
    return logger;
  }
}
